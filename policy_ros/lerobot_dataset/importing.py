# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset as bags, one for each episode, as if a robot of these parameters had been recorded.

Frame k is at ``k / fps``, where it was observed. Training reads its action out of a bag as the setpoint at
``(k + 1) / fps``. So the action is commanded a quarter of a period behind its frame and in force another half later,
and rounding of moments changes nothing. The first one is commanded together with what was observed, since that is where
training's grid begins: when everything was heard of. The last one is commanded once more when it is in force, since a
recording knows nothing of what comes behind its last message.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from policy_ros.bags.episodes import ENDED, STARTED
from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, JointScaling
from policy_ros.lerobot_dataset.columns import Columns, match_columns
from policy_ros.lerobot_dataset.messages import Messages, Serialized
from policy_ros.lerobot_dataset.reader import DatasetEpisode, DatasetReader, Frame
from policy_ros.lerobot_dataset.writer import refuse_existing
from policy_ros.parameters.build import action_scaling, check_outputs, state_names, state_scaling
from policy_ros.parameters.node import NodeParameters

_FIRST_NS = 1_000_000_000_000_000_000  # 2001-09-09; a dataset knows no dates, and a stamp of 0 means none
_PAUSE_NS = 1_000_000_000  # between episodes
_NS = 1_000_000_000


@dataclass(frozen=True)
class ImportResult:
    """Bags that were written, how many frames they have together, and what was left out."""

    bags: Sequence[Path]
    frames: int
    problems: Sequence[str]


def import_dataset(
    root: Path,
    parameters: NodeParameters,
    out: Path,
    *,
    by_order: bool = False,
    namespace: str = "/",
    progress: Callable[[float], None] | None = None,
) -> ImportResult:
    """Write a bag ``out/episode_000000`` for each episode of the dataset in ``root``.

    Args:
        parameters: joints, cameras and outputs whose topics the bags have; ``execution.rate_hz`` is the dataset's rate.
        by_order: joints are matched by their order instead of by name.
        progress: told the share that is done, 0 to 1.

    Raises:
        LeRobotError: the dataset is damaged or does not fit the parameters, or ``out`` exists.
        ConfigurationError: the parameters cannot work.
    """
    refuse_existing(out)
    check_outputs(parameters)
    reader = DatasetReader(root)
    columns = match_columns(root, reader.info, parameters, by_order=by_order)
    recorder = _Recorder(parameters, columns, reader.info.fps, namespace)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        names, frames, start_ns = [], 0, _FIRST_NS
        for episode in reader.episodes(columns.keys):
            names.append(f"episode_{episode.index:06d}")
            start_ns = recorder.record(episode, partial / names[-1], start_ns) + _PAUSE_NS
            frames += episode.length
            if progress is not None:
                progress(frames / max(frames, reader.info.frames))
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    problems = [f"{root}: '{key}' is left out: no parameter asks for it" for key in columns.left_out]
    return ImportResult([out / name for name in names], frames, problems)


class _Recorder:
    """Writes an episode as a bag."""

    def __init__(self, parameters: NodeParameters, columns: Columns, fps: int, namespace: str) -> None:
        self._columns, self._fps = columns, fps
        self._state, self._action = state_scaling(parameters), action_scaling(parameters)
        self._messages = Messages(
            parameters,
            state_names(parameters),
            list(columns.cameras),
            environment=columns.environment,
            namespace=namespace,
        )

    def record(self, episode: DatasetEpisode, path: Path, start_ns: int) -> int:
        """Write the bag; the moment of its last message."""
        writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        time_ns = start_ns
        with writer:
            connections = {
                topic: writer.add_connection(topic, type_, typestore=self._messages.store)
                for topic, type_ in self._messages.topics.items()
            }
            for time_ns, (topic, data) in self._episode(episode, start_ns):
                writer.write(connections[topic], time_ns, data)
        return time_ns

    def _episode(self, episode: DatasetEpisode, start_ns: int) -> Iterator[tuple[int, Serialized]]:
        """Messages with the moments of their recording, in the order of time."""
        quarter_ns = _NS // (4 * self._fps)
        last: Frame | None = None
        for frame in episode.frames:
            time_ns = self._time_ns(start_ns, frame.index)
            if last is None:
                begin_ns = time_ns - quarter_ns
                yield begin_ns, self._messages.episode(begin_ns, episode.index, STARTED, frame.task)
            yield from self._observation(frame, time_ns)
            yield from self._command(frame, time_ns if last is None else time_ns + quarter_ns)
            last = frame
        assert last is not None
        end_ns = self._time_ns(start_ns, last.index + 1) + quarter_ns
        yield from self._command(last, end_ns)
        end_ns += quarter_ns
        yield end_ns, self._messages.episode(end_ns, episode.index, ENDED, last.task)

    def _time_ns(self, start_ns: int, index: int) -> int:
        return start_ns + round(index * _NS / self._fps)

    def _observation(self, frame: Frame, time_ns: int) -> Iterator[tuple[int, Serialized]]:
        state = frame.values[OBSERVATION_STATE][list(self._columns.state)]
        yield time_ns, self._messages.joint_state(time_ns, _robot_units(state, self._state))
        for camera, key in self._columns.cameras.items():
            yield time_ns, self._messages.image(time_ns, camera, frame.values[key])
        if self._columns.environment:
            values = frame.values[OBSERVATION_ENVIRONMENT_STATE].astype(np.float64)
            yield time_ns, self._messages.environment_state(values)

    def _command(self, frame: Frame, time_ns: int) -> Iterator[tuple[int, Serialized]]:
        action = _robot_units(frame.values[ACTION][list(self._columns.action)], self._action)
        for message in self._messages.commands(time_ns, action, 0.5 / self._fps):
            yield time_ns, message


def _robot_units(values: NDArray[np.float32], scaling: JointScaling) -> NDArray[np.float64]:
    """In float64, so that the way back to float32 ends where it began."""
    exact: NDArray[np.float64] = (values.astype(np.float64) - scaling.offset) / scaling.scale
    return exact
