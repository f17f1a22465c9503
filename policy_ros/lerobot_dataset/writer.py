# SPDX-License-Identifier: Apache-2.0
"""Writes a LeRobot dataset v3.0, frame by frame: numbers of one episode are in memory, videos never."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.lerobot_dataset import extra, layout
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import BOOKKEEPING, IMAGE, VIDEO, Feature
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.lerobot_dataset.png import encode_png
from policy_ros.lerobot_dataset.statistics import ImageStatistics, Statistics, merge, vector_statistics
from policy_ros.lerobot_dataset.tables import EpisodeFile, FrameFiles, write_tasks
from policy_ros.lerobot_dataset.video import VideoCodec, describe
from policy_ros.lerobot_dataset.video_files import VideoFiles


class DatasetWriter:
    """A dataset that grows. Nothing is at ``root`` until all of it is there.

    Args:
        root: directory to make; it must not exist yet.
        features: columns without the bookkeeping.
        codec: of the videos; needed where a feature is one.

    Raises:
        LeRobotError: ``root`` exists, or a library is missing.
    """

    def __init__(
        self,
        root: Path,
        *,
        fps: int,
        features: Mapping[str, Feature],
        codec: VideoCodec | None = None,
        robot_type: str | None = None,
    ) -> None:
        refuse_existing(root)
        extra.pyarrow()
        self._root = root
        self._partial = root.with_name(root.name + ".partial")
        self._fps, self._robot_type = fps, robot_type
        self._features = dict(features)
        self._columns = {k: f for k, f in features.items() if f.dtype != VIDEO} | dict(BOOKKEEPING)
        self._videos = self._open_videos(codec)
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        self._frame_files = FrameFiles(self._partial, self._columns)
        self._episode_file = EpisodeFile(self._partial)
        self._tasks: dict[str, int] = {}
        self._episodes = self._frames = 0
        self._statistics: dict[str, Statistics] = {}
        self._begin_episode()

    def _open_videos(self, codec: VideoCodec | None) -> dict[str, VideoFiles]:
        sizes = {key: (f.shape[0], f.shape[1]) for key, f in self._features.items() if f.dtype == VIDEO}
        if not sizes:
            return {}
        if codec is None:
            raise LeRobotError(f"videos {', '.join(sizes)}: expected a codec, got none")
        extra.av()
        return {key: VideoFiles(self._partial, key, self._fps, size, codec) for key, size in sizes.items()}

    def _begin_episode(self) -> None:
        self._values: dict[str, list[Any]] = {key: [] for key in self._columns}
        self._pictures = {key: ImageStatistics() for key, f in self._features.items() if f.is_picture}

    def add(self, values: Mapping[str, NDArray[Any]], task: str) -> None:
        """One more frame of the episode.

        Args:
            values: every feature: vectors ``(n,)``, images ``(3, H, W)`` uint8.
            task: what is being done, in words.

        Raises:
            LeRobotError: a feature is missing, of another shape, or not finite.
        """
        for key, feature in self._features.items():
            value = _checked(key, feature, values.get(key))
            if feature.is_picture:
                self._pictures[key].add(value)
            if feature.dtype == VIDEO:
                self._videos[key].add(value)
            else:
                self._values[key].append(encode_png(value) if feature.dtype == IMAGE else value)
        frame = len(self._values["frame_index"])
        self._values["timestamp"].append(frame / self._fps)
        self._values["frame_index"].append(frame)
        self._values["episode_index"].append(self._episodes)
        self._values["index"].append(self._frames + frame)
        self._values["task_index"].append(self._tasks.setdefault(task, len(self._tasks)))

    def end_episode(self) -> int:
        """Write the episode; the number of its frames. Without any frame there is no episode."""
        length = len(self._values["index"])
        if length == 0:
            return 0
        columns = {
            key: self._values[key]
            if feature.dtype == IMAGE
            else np.asarray(self._values[key], dtype=feature.dtype).reshape(length, *feature.shape)
            for key, feature in self._columns.items()
        }
        statistics = {key: vector_statistics(column) for key, column in columns.items() if not isinstance(column, list)}
        statistics |= {key: pictures.result() for key, pictures in self._pictures.items()}
        names = list(self._tasks)
        row: dict[str, Any] = {
            "episode_index": self._episodes,
            "tasks": [names[index] for index in sorted(set(self._values["task_index"]))],
            "length": length,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            **self._write_frames(columns),
            **self._end_videos(),
        }
        for key, of_feature in statistics.items():
            row |= {f"stats/{key}/{name}": value.tolist() for name, value in of_feature.items()}
            self._statistics[key] = merge(self._statistics.get(key), of_feature)
        self._episode_file.write(row)
        self._episodes += 1
        self._frames += length
        self._begin_episode()
        return length

    def _write_frames(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        number = self._frame_files.write(columns)
        return {"data/chunk_index": number.chunk, "data/file_index": number.file}

    def _end_videos(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, files in self._videos.items():
            stretch = files.end_episode()
            row[f"videos/{key}/chunk_index"] = stretch.file.chunk
            row[f"videos/{key}/file_index"] = stretch.file.file
            row[f"videos/{key}/from_timestamp"] = stretch.start_s
            row[f"videos/{key}/to_timestamp"] = stretch.stop_s
        return row

    def close(self) -> DatasetInfo:
        """Finish the files and move the dataset to its place.

        Raises:
            LeRobotError: there is no episode.
        """
        self.end_episode()
        if self._episodes == 0:
            self.abandon()
            raise LeRobotError(f"{self._root}: expected at least one episode, got none; nothing was written")
        self._frame_files.close()
        self._episode_file.close()
        for files in self._videos.values():
            files.close()
        write_tasks(self._partial, list(self._tasks))
        statistics = {k: {name: v.tolist() for name, v in s.items()} for k, s in self._statistics.items()}
        (self._partial / layout.STATISTICS).write_text(json.dumps(statistics, indent=4) + "\n")
        info = DatasetInfo(
            fps=self._fps,
            features={**self._described_features(), **BOOKKEEPING},
            episodes=self._episodes,
            frames=self._frames,
            tasks=len(self._tasks),
            robot_type=self._robot_type,
        )
        info.write(self._partial)
        self._partial.rename(self._root)
        return info

    def _described_features(self) -> dict[str, Feature]:
        first = {key: self._partial / layout.FileNumber().path(layout.VIDEO, key) for key in self._videos}
        return {k: replace(f, info=describe(first[k])) if k in first else f for k, f in self._features.items()}

    def abandon(self) -> None:
        """Remove what was written."""
        self._frame_files.close()
        self._episode_file.close()
        for files in self._videos.values():
            files.abandon()
        shutil.rmtree(self._partial, ignore_errors=True)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._partial.exists() and kind is not None:
            self.abandon()


def refuse_existing(out: Path) -> None:
    """Refuse to write where something is.

    Raises:
        LeRobotError: it exists.
    """
    if out.exists():
        raise LeRobotError(f"{out}: expected a directory that does not exist yet; name another or remove it")


def _checked(key: str, feature: Feature, value: NDArray[Any] | None) -> Any:
    if value is None:
        raise LeRobotError(f"frame: expected '{key}', it is missing")
    height_last = feature.shape if not feature.is_picture else (3, *feature.shape[:2])
    dtype = np.dtype(np.uint8 if feature.is_picture else feature.dtype)
    if value.shape != height_last or value.dtype != dtype:
        raise LeRobotError(f"'{key}': expected {dtype} {height_last}, got {value.dtype} {value.shape}")
    if not feature.is_picture and not np.isfinite(value).all():
        raise LeRobotError(f"'{key}': expected finite values, got {value.tolist()}")
    return value
