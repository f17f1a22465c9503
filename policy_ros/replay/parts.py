# SPDX-License-Identifier: Apache-2.0
"""Everything that replays the episodes of one bag, made from the node's own parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from policy_ros.bags import Bag, BagError, BagInputs, BagMessage, CommandTracks, Episode
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig, Gate, Strategy
from policy_ros.observation import ObservationAssembler, default_decoder
from policy_ros.observation.config import JOINT_STREAM
from policy_ros.parameters import build
from policy_ros.parameters.topics import absolute_topic, camera_topic
from policy_ros.policies.base import Policy
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.pictures import TrainedPictures
from policy_ros.replay.setpoints import Setpoints

_LOOKAHEAD = 2  # rows of a window [steps]
_BEFORE_NS = 200_000_000  # joint states this long before an episode still say where its first trajectory starts


class ReplayParts:
    """As :class:`policy_ros.ros.runtime.PolicyRuntime` wires them for the running node.

    Args:
        bag: where the messages come from.
        policy: loaded and warmed up.
        options: how it is replayed.

    Attributes:
        policy, options: as given.
        observed: the streams.
        stream_topics: stream to its topic, where its messages have stamps.
        inputs: feeds an assembler.
        setpoints: what was commanded.
        has_commands: whether the bag has commands; that it has none becomes a problem of the bag.
        topics: all that are needed.

    Raises:
        BagError: the bag lacks a topic that observations are made of, or the action topic that was named.
        ConfigurationError: parameters that do not fit the policy or each other.
    """

    def __init__(self, bag: Bag, policy: Policy, options: ReplayOptions) -> None:
        parameters = build.with_cameras_of(options.parameters, policy)
        self.policy, self.options = policy, options
        self._bag, self._parameters = bag, parameters
        build.check_joints(parameters, policy)
        self.measured_order = build.measured_order(parameters)
        self.observed = build.observation_config(parameters, policy)
        self.scaling = build.action_scaling(parameters)
        self.config = self._execution_config()
        self.trained_pictures = TrainedPictures(policy)
        self.gapless = self.make_strategy().gapless
        self.inputs = self.make_inputs()
        self.stream_topics = self._stream_topics()
        self.gate = self._make_gate()
        commands = self._commands()
        self.has_commands = commands is not None
        silence_s = None if options.action_topic is None else options.max_action_gap_s
        self.setpoints = Setpoints(commands, max_silence_s=silence_s)
        self.topics = tuple(sorted({*self.inputs.topics, *self.setpoints.topics}))

    def make_inputs(self) -> BagInputs:
        """Nothing fed yet."""
        return BagInputs(self._parameters, self.observed, self._bag, namespace=self.options.namespace)

    def make_assembler(self) -> ObservationAssembler:
        """Nothing pushed yet."""
        return ObservationAssembler(self.observed, default_decoder())

    def make_strategy(self) -> Strategy:
        """Nothing executed yet."""
        return build.strategy(self._parameters, self.policy)

    def durations(self, generator: np.random.Generator) -> Callable[[float], int]:
        """How long the next inference lasts [ns], from what it took here [s]."""
        own = self.options.delay.durations(generator)
        added_ns = round(self._parameters.execution.added_delay_s * 1e9)
        return lambda compute_s: own(compute_s) + added_ns

    def before(self, episode: Episode) -> Iterator[BagMessage]:
        """Joint states from just before an episode: where its first trajectory starts."""
        topic = absolute_topic(self._parameters.joints.topic, self.options.namespace)
        if topic in self.setpoints.topics and self.options.action_topic is None:
            start_ns = episode.start_ns
            yield from self._bag.messages([topic], start_ns=start_ns - _BEFORE_NS, stop_ns=start_ns)

    def _execution_config(self) -> ExecutionConfig:
        """The node's, but for what is done here in other ways.

        An added delay is part of :meth:`durations`. Of a window only the first row is commanded, on which those behind
        it have no influence: they come due later and are judged again.
        """
        config = build.execution_config(self._parameters)
        return dataclasses.replace(config, added_delay_s=0.0, lookahead_steps=min(_LOOKAHEAD, config.lookahead_steps))

    def _stream_topics(self) -> dict[str, str]:
        parameters = self._parameters
        topics = {JOINT_STREAM: parameters.joints.topic} if self.observed.joints else {}
        for camera in self.observed.cameras:
            topics[camera.stream] = camera_topic(camera.name, parameters.cameras[camera.name])
        return {stream: absolute_topic(topic, self.options.namespace) for stream, topic in topics.items()}

    def _commands(self) -> CommandTracks | None:
        options = self.options
        try:
            return CommandTracks(
                self._parameters, self._bag, namespace=options.namespace, action_topic=options.action_topic
            )
        except BagError as error:
            if options.action_topic is not None:
                raise
            self._bag.note(f"{error}; errors against what was commanded are left out")
            return None

    def _make_gate(self) -> Gate:
        gate = self._parameters.gate
        if not gate.use_robot_description:
            return build.make_gate(self._parameters)
        topic = absolute_topic(gate.robot_description_topic, self.options.namespace)
        for message in self._bag.messages([topic]):
            return build.make_gate(self._parameters, str(self._bag.deserialize(message).data))
        raise ConfigurationError(
            f"{self._bag.path}: gate.use_robot_description is true, but the bag has nothing on '{topic}'; record it, "
            "or set -p gate.use_robot_description:=false and the limits in gate.*"
        )
