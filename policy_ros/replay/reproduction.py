# SPDX-License-Identifier: Apache-2.0
"""Whether a policy answers here what it answered on the robot, to the very observations that its chunks came from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Bag, BagError, BagMessage, MalformedMessage, open_bag
from policy_ros.bags.cdr import Cdr
from policy_ros.data import Observation
from policy_ros.errors import ConfigurationError
from policy_ros.observation import NotReady
from policy_ros.policies.base import Policy
from policy_ros.replay.cursor import MessageCursor
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.parts import ReplayParts

CHUNK_TYPE = "policy_ros/msg/ActionChunk"
_LATE_NS = 1_000_000_000  # a recorder may log a sample so much after a chunk that was computed from it
_BEFORE_NS = 1_000_000_000  # and before: a sample that is repeated until the next comes


@dataclass(frozen=True)
class ReproducedChunk:
    """One recorded chunk.

    Attributes:
        log_ns: when it was recorded [ns].
        sequence: its number, as recorded.
        difference: largest difference of any value from what the policy answers here [rad, m]; None: its observation
            is not in the recording.
    """

    log_ns: int
    sequence: int
    difference: float | None


@dataclass(frozen=True)
class Reproduction:
    """All recorded chunks of a bag.

    Attributes:
        path: the bag.
        topic: that they were recorded from.
        chunks: in the order of log time.
        problems: of the bag.
    """

    path: Path
    topic: str
    chunks: tuple[ReproducedChunk, ...]
    problems: tuple[str, ...] = ()

    @property
    def differences(self) -> list[float]:
        """Of those that could be compared."""
        return [chunk.difference for chunk in self.chunks if chunk.difference is not None]

    @property
    def largest(self) -> float | None:
        """The largest difference of all [rad, m]; None if nothing could be compared."""
        return max(self.differences, default=None)


@dataclass(frozen=True)
class _Recorded:
    log_ns: int
    sequence: int
    stamps_ns: Mapping[str, int]
    actions: NDArray[np.float32]  # (H, A) in the order of the parameters' joints


def reproduce(path: str | Path, policy: Policy, options: ReplayOptions, *, topic: str | None = None) -> Reproduction:
    """Let the policy answer again to the observations of the chunks that a node published while it was recorded.

    The recorder and the node receive messages in different processes, hence at different times. An observation is
    made of the samples that have the stamps that the chunk carries; joint states that come in parts, and an environment
    state, which has no stamps, cannot be told in this way.

    Args:
        path: a bag with the topics that the policy needs and ``~/action_chunk``.
        policy: loaded, warmed up and frozen; without noise, since nobody recorded that.
        options: the parameters that the node had.
        topic: of the chunks; None: the only one of their type.

    Raises:
        BagError: the bag lacks a topic.
        ConfigurationError: the policy cannot be compared, or does not fit the parameters or the chunks.
    """
    if policy.config.uses_noise:
        raise ConfigurationError(
            f"policy '{policy.name}': expected one without noise to reproduce chunks, this one draws noise that nobody "
            "recorded; replay it, and compare the metrics"
        )
    bag = open_bag(path)
    parts = ReplayParts(bag, policy, options)
    topic = _chunk_topic(bag, topic)
    recorded = list(_recorded(bag, topic, parts.scaling.names, policy.config.chunk_size))
    observations = _Observations(bag, parts)
    chunks = []
    for chunk in recorded:
        observation = observations.find(chunk)
        difference = None
        if observation is not None:
            answer = parts.scaling.to_robot(policy.predict(observation.features))
            difference = float(np.max(np.abs(answer - chunk.actions)))
        chunks.append(ReproducedChunk(chunk.log_ns, chunk.sequence, difference))
    return Reproduction(bag.path, topic, tuple(chunks), tuple(bag.problems))


def _chunk_topic(bag: Bag, topic: str | None) -> str:
    there = [each.name for each in bag.topics.values() if each.type == CHUNK_TYPE]
    if topic is None and len(there) == 1:
        return there[0]
    if topic is None or topic not in there:
        raise BagError(
            f"{bag.path}: expected {topic or 'one topic'} of type {CHUNK_TYPE}, got {', '.join(there) or 'none'}; "
            "record the node's ~/action_chunk beside its inputs"
        )
    return topic


def _recorded(bag: Bag, topic: str, joints: tuple[str, ...], horizon: int) -> Iterator[_Recorded]:
    for message in bag.messages([topic]):
        try:
            chunk = bag.deserialize(message)
        except MalformedMessage as error:
            bag.note(f"{bag.path}: topic '{topic}': {error}; left out", topic, "malformed")
            continue
        yield _Recorded(
            message.log_ns, int(chunk.sequence), _stamps(chunk), _actions(bag, topic, chunk, joints, horizon)
        )


def _stamps(chunk: Any) -> dict[str, int]:
    stamps = (stamp.sec * 1_000_000_000 + stamp.nanosec for stamp in chunk.observation_stamps)
    return dict(zip(chunk.observation_streams, stamps, strict=False))


def _actions(bag: Bag, topic: str, chunk: Any, joints: tuple[str, ...], horizon: int) -> NDArray[np.float32]:
    names = list(chunk.joint_names)
    if sorted(names) != sorted(joints) or chunk.horizon != horizon:
        raise ConfigurationError(
            f"{bag.path}: topic '{topic}': expected chunks of {horizon} rows for {', '.join(joints)}, got "
            f"{chunk.horizon} rows for {', '.join(names)}; another policy or another robot was recorded"
        )
    actions: NDArray[np.float32] = np.asarray(chunk.actions, dtype=np.float32).reshape(horizon, len(names))
    return actions[:, [names.index(joint) for joint in joints]]


class _Observations:
    """Goes through a bag once and makes the observation of one chunk after the other."""

    def __init__(self, bag: Bag, parts: ReplayParts) -> None:
        self._parts = parts
        self._cursor = MessageCursor(bag.messages(parts.inputs.topics))
        self._window: deque[BagMessage] = deque()
        self._step_ns = round(parts.observed.dt_s * 1e9)
        self._span_ns = round(parts.observed.span_s * 1e9) + _BEFORE_NS
        self._history = parts.observed.n_obs_steps > 1

    def find(self, chunk: _Recorded) -> Observation | None:
        """The observation whose samples have the stamps of this chunk's; None if there is none.

        The assembler is fed with these samples alone and, where the policy sees a history, with those that are clearly
        older: so it selects them in whatever order the recorder got the messages of different streams.
        """
        if not chunk.stamps_ns:
            return None
        self._window.extend(self._cursor.before(chunk.log_ns + _LATE_NS))
        anchor_ns = min(chunk.stamps_ns.values())
        while self._window and self._window[0].log_ns < anchor_ns - self._span_ns:
            self._window.popleft()
        wanted_ns = {self._parts.stream_topics.get(name, name): ns for name, ns in chunk.stamps_ns.items()}
        assembler, inputs = self._parts.make_assembler(), self._parts.make_inputs()
        assembler.set_task(self._parts.options.parameters.policy.prompt or None)
        for message in self._window:
            stamp_ns = _stamp_ns(message)
            older = self._history and stamp_ns < anchor_ns - self._step_ns // 2
            if older or stamp_ns == wanted_ns.get(message.topic):
                inputs.feed(message, assembler)
        try:
            observation = assembler.assemble(max(chunk.stamps_ns.values()))
        except NotReady:
            return None
        return observation if dict(observation.stamps_ns) == dict(chunk.stamps_ns) else None


def _stamp_ns(message: BagMessage) -> int:
    """Of the header, which is the first thing in every message that has one; of a malformed one that of recording."""
    try:
        return Cdr(message.data).stamp_ns()
    except MalformedMessage:
        return message.log_ns
