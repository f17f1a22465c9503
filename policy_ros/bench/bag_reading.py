# SPDX-License-Identifier: Apache-2.0
"""How fast samples come out of a bag, beside how fast ``rosbags`` alone deserializes the same messages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from policy_ros.bags import Bag, BagError, BagInputs, CommandTracks, open_bag
from policy_ros.data import OBSERVATION_STATE
from policy_ros.observation import (
    CameraStream,
    NotReady,
    ObservationAssembler,
    ObservationConfig,
    default_decoder,
)
from policy_ros.parameters.build import camera_feature, state_names
from policy_ros.parameters.node import NodeParameters

_NS = 1_000_000_000


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes:
        messages: of the topics that are needed, in the bag.
        samples: that came out of it, of all moments of the control rate.
        moments: of the control rate.
        rosbags_s: of every turn, for ``rosbags`` alone to deserialize all the messages [s].
        policy_ros_s: of every turn, for all samples [s].
        rosbags_cpu_s: of every turn, of the processors' time [s].
        policy_ros_cpu_s: of every turn, of the processors' time [s].
    """

    messages: int
    samples: int
    moments: int
    rosbags_s: tuple[float, ...]
    policy_ros_s: tuple[float, ...]
    rosbags_cpu_s: tuple[float, ...]
    policy_ros_cpu_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Samples per second here by samples per second at the speed of ``rosbags``, of the medians."""
        return statistics.median(self.rosbags_s) / statistics.median(self.policy_ros_s)

    @property
    def cpu_ratio(self) -> float:
        """The same of the processors' time, which tells more beside other programs."""
        return statistics.median(self.rosbags_cpu_s) / statistics.median(self.policy_ros_cpu_s)


def observation_config(parameters: NodeParameters) -> ObservationConfig:
    """Joints and cameras of the parameters, as a policy without other inputs would have them assembled."""
    return ObservationConfig(
        joints=state_names(parameters),
        state_feature=OBSERVATION_STATE,
        cameras=tuple(
            CameraStream(name, camera_feature(name, camera), max_age_s=camera.max_age_s)
            for name, camera in parameters.cameras.items()
        ),
        joint_max_age_s=parameters.joints.max_age_s,
        tail_s=parameters.observation.tail_s,
        max_skew_s=parameters.observation.max_skew_s,
        future_tolerance_s=parameters.observation.future_tolerance_s,
        dt_s=1.0 / parameters.execution.rate_hz,
    )


def measure(path: Path, parameters: NodeParameters, *, turns: int, report: Callable[[str], None]) -> Result:
    """Read the bag in turns: once through ``rosbags``, once as samples, and again.

    Args:
        path: the bag.
        parameters: what a sample is made of, and the control rate.
        turns: of each; the first of both only warms up and does not count.
        report: told what happened, a line at a time.

    Raises:
        BagError: the bag lacks a topic, or there is not a single sample in it.
    """
    topics = _topics(open_bag(path), parameters)
    rosbags: list[_Duration] = []
    policy_ros: list[_Duration] = []
    messages = samples = moments = 0
    for turn in range(turns + 1):
        begin = _Duration.now()
        messages = deserialize_all(path, topics)
        middle = _Duration.now()
        samples, moments = read_samples(path, parameters)
        end = _Duration.now()
        if samples == 0:
            raise BagError(f"{path}: expected samples, got none in {moments} moments; {_why(path)}")
        if turn > 0:
            rosbags.append(middle.since(begin))
            policy_ros.append(end.since(middle))
            report(f"turn {turn} of {turns}: rosbags {rosbags[-1].wall_s:.3f} s, samples {policy_ros[-1].wall_s:.3f} s")
    return Result(
        messages,
        samples,
        moments,
        tuple(each.wall_s for each in rosbags),
        tuple(each.wall_s for each in policy_ros),
        tuple(each.cpu_s for each in rosbags),
        tuple(each.cpu_s for each in policy_ros),
    )


class _Duration(NamedTuple):
    """By the clock, and of the processors' time [s]."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> _Duration:
        """Since some beginning."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, begin: _Duration) -> _Duration:
        return _Duration(self.wall_s - begin.wall_s, self.cpu_s - begin.cpu_s)


def deserialize_all(path: Path, topics: Collection[str]) -> int:
    """Deserialize all messages of these topics by ``rosbags`` alone; their number."""
    count = 0
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        connections = [connection for connection in reader.connections if connection.topic in topics]
        for connection, _, data in reader.messages(connections):
            reader.deserialize(data, connection.msgtype)
            count += 1
    return count


def read_samples(path: Path, parameters: NodeParameters) -> tuple[int, int]:
    """Observation and commanded setpoint at every period of control; how many there were, of how many periods."""
    bag = open_bag(path)
    config = observation_config(parameters)
    inputs, tracks = BagInputs(parameters, config, bag), CommandTracks(parameters, bag)
    assembler = ObservationAssembler(config, default_decoder())
    period_ns = round(_NS / parameters.execution.rate_hz)
    samples = moments = 0
    due_ns: int | None = None
    for message in bag.messages({*inputs.topics, *tracks.topics}):
        while due_ns is not None and due_ns < message.log_ns:
            moments += 1
            samples += _sample(assembler, tracks, due_ns)
            due_ns += period_ns
        inputs.feed(message, assembler)
        tracks.feed(message)
        if due_ns is None and not assembler.missing() and tracks.setpoint(message.log_ns) is not None:
            due_ns = message.log_ns
    return samples, moments


def _sample(assembler: ObservationAssembler, tracks: CommandTracks, t_ns: int) -> bool:
    try:
        assembler.assemble(t_ns)
    except NotReady:
        return False
    return tracks.setpoint(t_ns) is not None


def _topics(bag: Bag, parameters: NodeParameters) -> frozenset[str]:
    inputs = BagInputs(parameters, observation_config(parameters), bag)
    return frozenset({*inputs.topics, *CommandTracks(parameters, bag).topics})


def _why(path: Path) -> str:
    return "; ".join(open_bag(path).problems) or "its streams are never fresh together"
