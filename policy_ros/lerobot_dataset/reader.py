# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobot dataset v3 from its first frame to its last, a batch of rows and a picture at a time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.lerobot_dataset import extra, layout
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import IMAGE, VIDEO, Feature
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.lerobot_dataset.layout import FileNumber
from policy_ros.lerobot_dataset.png import decode_image
from policy_ros.lerobot_dataset.video import read_pictures

_BATCH_ROWS = 64


@dataclass(frozen=True)
class Frame:
    """One frame: its number within the episode, the task in words, and the features that were asked for.

    ``values``: vectors ``(n,)``, images ``(3, H, W)`` uint8 RGB.
    """

    index: int
    task: str
    values: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class DatasetEpisode:
    """One episode; its frames are read while they are iterated over, once, and before the next episode."""

    index: int
    length: int
    frames: Iterator[Frame]


class DatasetReader:
    """A dataset on this machine.

    Raises:
        LeRobotError: it is no dataset of version 3, a file is missing or damaged, or a library is missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = DatasetInfo.read(root)
        self._pyarrow = extra.pyarrow()
        self._tasks = self._read_tasks()
        self._episodes = self._read_episodes()

    def episodes(self, keys: Sequence[str]) -> Iterator[DatasetEpisode]:
        """All episodes in order, with these features of their frames."""
        features = {key: self.info.features[key] for key in keys}
        stored = [key for key, feature in features.items() if feature.dtype != VIDEO]
        for index, rows in itertools.groupby(self._rows(stored), key=lambda row: int(row["episode_index"])):
            row = self._episodes.get(index)
            if row is None:
                raise LeRobotError(f"{self.root}: expected episode {index} in meta/episodes, it is missing there")
            yield DatasetEpisode(index, int(row["length"]), self._frames(row, rows, features))

    def _frames(
        self, episode: Mapping[str, Any], rows: Iterator[Mapping[str, Any]], features: Mapping[str, Feature]
    ) -> Iterator[Frame]:
        videos = {key: self._pictures(episode, key) for key, feature in features.items() if feature.dtype == VIDEO}
        count = 0
        for row in rows:
            where = f"{self.root}: episode {episode['episode_index']}, frame {count}"
            if int(row["frame_index"]) != count:
                raise LeRobotError(f"{where}: expected frame_index {count}, got {row['frame_index']}")
            values = {key: self._value(row[key], f, f"{where}, {key}") for key, f in features.items() if key in row}
            values |= {key: next(pictures) for key, pictures in videos.items()}
            yield Frame(count, self._task(int(row["task_index"])), values)
            count += 1
        if count != int(episode["length"]):
            raise LeRobotError(
                f"{self.root}: episode {episode['episode_index']}: expected {episode['length']} frames, got {count}"
            )

    def _pictures(self, episode: Mapping[str, Any], key: str) -> Iterator[NDArray[np.uint8]]:
        number = FileNumber(int(episode[f"videos/{key}/chunk_index"]), int(episode[f"videos/{key}/file_index"]))
        path = self.root / number.path(self.info.video_path, key)
        start_s = float(episode[f"videos/{key}/from_timestamp"])
        return read_pictures(path, start_s, self.info.fps, int(episode["length"]))

    @staticmethod
    def _value(value: Any, feature: Feature, where: str) -> NDArray[Any]:
        if feature.dtype == IMAGE:
            image = decode_image((value or {}).get("bytes") or b"", where)
            if image.shape[1:] != feature.shape[:2]:
                raise LeRobotError(f"{where}: expected an image of {feature.shape[:2]}, got {image.shape[1:]}")
            return image
        return np.asarray(value, dtype=feature.dtype).reshape(feature.shape)

    def _task(self, index: int) -> str:
        if index not in self._tasks:
            raise LeRobotError(f"{self.root}: expected task {index} in {layout.TASKS}, it is missing there")
        return self._tasks[index]

    def _rows(self, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
        columns = ["episode_index", "frame_index", "task_index", *keys]
        for path in self._files("data"):
            with self._open(path) as file:
                missing = [key for key in columns if key not in file.schema_arrow.names]
                if missing:
                    raise LeRobotError(
                        f"{path}: expected the columns {', '.join(columns)}, missing {', '.join(missing)}"
                    )
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                    yield from batch.to_pylist()

    def _read_episodes(self) -> dict[int, dict[str, Any]]:
        episodes: dict[int, dict[str, Any]] = {}
        for path in self._files("meta/episodes"):
            with self._open(path) as file:
                wanted = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
                for row in file.read(columns=wanted).to_pylist():
                    episodes[int(row["episode_index"])] = row
        return episodes

    def _read_tasks(self) -> dict[int, str]:
        path = self.root / layout.TASKS
        with self._open(path) as file:
            table = file.read()
        text = next((name for name in ("task", "__index_level_0__") if name in table.column_names), None)
        if text is None or "task_index" not in table.column_names:
            raise LeRobotError(f"{path}: expected the columns task and task_index, got {', '.join(table.column_names)}")
        return {int(row["task_index"]): str(row[text]) for row in table.to_pylist()}

    def _files(self, folder: str) -> list[Path]:
        files = sorted((self.root / folder).glob("*/*.parquet"))
        if not files:
            raise LeRobotError(f"{self.root / folder}: expected chunk-000/file-000.parquet, got no parquet file")
        return files

    def _open(self, path: Path) -> Any:
        try:
            return self._pyarrow.parquet.ParquetFile(os.fspath(path))
        except (OSError, self._pyarrow.ArrowException) as error:
            raise LeRobotError(f"{path}: cannot be read: {error}") from None
