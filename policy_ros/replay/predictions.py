# SPDX-License-Identifier: Apache-2.0
"""What a policy would have done, as messages beside the recorded ones: ``replay.mcap``, which Foxglove shows.

The messages are those of the node, on topics of their own (:data:`ROOT`), at the log times at which the node would have
published them.
"""

from __future__ import annotations

import heapq
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from policy_ros.bags import Bag, BagError
from policy_ros.bags.message_types import own_definitions
from policy_ros.data import Observation
from policy_ros.durable import UNFINISHED, move_durably
from policy_ros.replay.statuses import executed_chunks, statuses
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace

ROOT = "/policy_replay"
CHUNKS = f"{ROOT}/action_chunk"
STATUS = f"{ROOT}/status"
COMMAND = f"{ROOT}/command"
RECORDED = f"{ROOT}/recorded_command"
TYPES = {
    CHUNKS: "policy_ros/msg/ActionChunk",
    STATUS: "policy_ros/msg/PolicyStatus",
    COMMAND: "sensor_msgs/msg/JointState",
    RECORDED: "sensor_msgs/msg/JointState",
}
_NS = 1_000_000_000


class _Record(NamedTuple):
    """A message on its way into the file; compared by time first, so that records can be merged."""

    log_ns: int
    topic: str
    message: Any


class PredictionFile:
    """Writes the file while episodes come; a :class:`policy_ros.replay.trace.ReplayListener`.

    It gets its name when it is whole. Recorded messages are copied as they are, up to the end of each episode and the
    rest in the end; a topic whose type nobody defines is left out and noted.

    Args:
        path: of the file; an old one is replaced.
        policy: registered name.
        original: the bag to copy, opened for this; None: predictions only.

    Attributes:
        problems: what could not be copied, one line each.

    Raises:
        OSError: by every method, where the file cannot be written.
    """

    def __init__(self, path: Path, policy: str, original: Bag | None) -> None:
        self.problems: list[str] = []
        self._path = path
        self._policy = policy
        self._messages = _Messages()
        self._folder = path.with_name(path.name + UNFINISHED)  # rosbags writes a folder; one file of it is wanted
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = Writer(self._folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        try:
            self._connections = {
                topic: self._writer.add_connection(topic, type_, typestore=self._messages.types)
                for topic, type_ in TYPES.items()
            }
            self._originals = iter(()) if original is None else original.messages(self._copied(original))
            self._waiting = next(self._originals, None)
        except BaseException:
            self.discard()
            raise

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        """Nothing: chunks come with their episode."""

    def episode(self, trace: EpisodeTrace) -> None:
        """Write an episode, with everything recorded before its end."""
        predicted: Iterable[_Record] = heapq.merge(
            self._chunks(trace),
            self._statuses(trace),
            self._joints(trace, COMMAND, trace.ticks.commands),
            self._joints(trace, RECORDED, trace.ticks.recorded),
            key=lambda record: record.log_ns,
        )
        for record in predicted:
            self._copy(record.log_ns + 1)
            data = self._messages.serialized(record.message)
            self._writer.write(self._connections[record.topic], record.log_ns, data)
        self._copy(trace.episode.stop_ns)

    def finish(self, *, rest: bool = True) -> None:
        """Copy the rest, finish the file and give it its name.

        Args:
            rest: False: somebody wants an end now; what was recorded after the last episode is left out.
        """
        if rest:
            self._copy(None)
        self._writer.close()
        (written,) = self._folder.glob("*.mcap")
        named = written.with_name(self._path.name)
        os.rename(written, named)
        move_durably([named], self._path.parent)
        shutil.rmtree(self._folder)

    def discard(self) -> None:
        """Remove what was written so far."""
        with suppress(OSError):  # of a full disk: what is buffered cannot be written
            self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copied(self, original: Bag) -> list[str]:
        """Topics of the recording that can be copied; they get their connections."""
        topics = []
        for topic in original.topics.values():
            if topic.name in TYPES:  # the recording is such a file itself
                continue
            try:
                definition = original.definition(topic.name)
            except BagError as error:
                self.problems.append(f"{error}; not copied into {self._path.name}")
                continue
            self._connections[topic.name] = self._writer.add_connection(
                topic.name, topic.type, msgdef=definition.text, rihs01=definition.digest
            )
            topics.append(topic.name)
        return topics

    def _copy(self, stop_ns: int | None) -> None:
        """Recorded messages before a log time; None: all that are left."""
        while self._waiting is not None and (stop_ns is None or self._waiting.log_ns < stop_ns):
            message = self._waiting
            self._writer.write(self._connections[message.topic], message.log_ns, message.data)
            self._waiting = next(self._originals, None)

    def _chunks(self, trace: EpisodeTrace) -> Iterator[_Record]:
        for took_over_ns, chunk in executed_chunks(trace):
            yield _Record(took_over_ns, CHUNKS, self._messages.chunk(trace, chunk, took_over_ns, self._policy))

    def _statuses(self, trace: EpisodeTrace) -> Iterator[_Record]:
        for log_ns, fields in statuses(trace):
            message = self._messages.status({**fields, "policy": self._policy}, log_ns)
            yield _Record(log_ns, STATUS, message)

    def _joints(self, trace: EpisodeTrace, topic: str, rows: NDArray[np.float64]) -> Iterator[_Record]:
        """What was or would have been commanded, tick by tick, stamped with the moment that it is for."""
        period_ns = round(trace.dt_s * _NS)
        for log_ns, row in zip(trace.ticks.times_ns.tolist(), rows, strict=True):
            if not np.isnan(row).all():
                yield _Record(log_ns, topic, self._messages.joints(trace.joint_names, row, log_ns + period_ns))


class _Messages:
    """Messages from values, by the definitions of Jazzy and of this package."""

    def __init__(self) -> None:
        self.types = get_typestore(Stores.ROS2_JAZZY)
        self.types.register(own_definitions())
        self._empty_status = self._zeros(TYPES[STATUS])

    def serialized(self, message: Any) -> Any:
        return self.types.serialize_cdr(message, message.__msgtype__)

    def joints(self, names: tuple[str, ...], positions: NDArray[np.float64], stamp_ns: int) -> Any:
        none = np.zeros(0)
        return self.types.types[TYPES[COMMAND]](
            header=self._header(stamp_ns), name=list(names), position=positions, velocity=none, effort=none
        )

    def chunk(self, trace: EpisodeTrace, chunk: ChunkTrace, took_over_ns: int, policy: str) -> Any:
        return self.types.types[TYPES[CHUNKS]](
            header=self._header(took_over_ns - round(chunk.delay_steps * trace.dt_s * _NS)),
            policy=policy,
            epoch=chunk.epoch,
            sequence=chunk.sequence,
            observation_streams=list(chunk.observation_stamps_ns),
            observation_stamps=[self._time(stamp_ns) for stamp_ns in chunk.observation_stamps_ns.values()],
            delay=chunk.delay_steps,
            execution_horizon=chunk.execution_horizon,
            dt=trace.dt_s,
            joint_names=list(trace.joint_names),
            horizon=len(chunk.actions),
            actions=np.ascontiguousarray(chunk.actions, dtype=np.float32).reshape(-1),
        )

    def status(self, fields: dict[str, Any], stamp_ns: int) -> Any:
        values = {**self._empty_status, **fields, "header": self._header(stamp_ns)}
        return self.types.types[TYPES[STATUS]](**values)

    def _header(self, stamp_ns: int) -> Any:
        return self.types.types["std_msgs/msg/Header"](stamp=self._time(stamp_ns), frame_id="")

    def _time(self, stamp_ns: int) -> Any:
        return self.types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)

    def _zeros(self, type_: str) -> dict[str, Any]:
        """Fields of a type without content: what a replay does not know; NaN where a number may say so."""
        values: dict[str, Any] = {}
        description: Any
        for name, description in self.types.fielddefs[type_][1]:
            kind, content = description
            if kind.name == "BASE":
                values[name] = {"bool": False, "string": "", "float64": math.nan}.get(content[0], 0)
            elif kind.name == "SEQUENCE":
                element = content[0][1][0]
                values[name] = [] if element == "string" else np.zeros(0, dtype=element)
        return values
