# SPDX-License-Identifier: Apache-2.0
"""``meta/info.json``: what a dataset consists of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_ros.lerobot_dataset import layout
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import VIDEO, Feature


@dataclass(frozen=True)
class DatasetInfo:
    """The description of a dataset.

    Attributes:
        fps: frames per second, a whole number in this layout.
        features: column to its type, bookkeeping included.
        robot_type: free text, or None.
        data_path, video_path: templates of the files' paths below the dataset's directory.
    """

    fps: int
    features: Mapping[str, Feature]
    episodes: int
    frames: int
    tasks: int
    robot_type: str | None = None
    data_path: str = layout.DATA
    video_path: str = layout.VIDEO

    @property
    def videos(self) -> tuple[str, ...]:
        """Columns that are videos."""
        return tuple(key for key, feature in self.features.items() if feature.dtype == VIDEO)

    def write(self, root: Path) -> None:
        """Write it below ``root``."""
        megabyte = 1024**2
        content = {
            "codebase_version": layout.VERSION,
            "robot_type": self.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": self.tasks,
            "chunks_size": layout.FILES_IN_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_BYTES // megabyte,
            "video_files_size_in_mb": layout.VIDEO_FILE_BYTES // megabyte,
            "fps": self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": self.data_path,
            "video_path": self.video_path if self.videos else None,
            "features": {key: feature.as_json() for key, feature in self.features.items()},
        }
        (root / layout.INFO).write_text(json.dumps(content, indent=4) + "\n")

    @classmethod
    def read(cls, root: Path) -> DatasetInfo:
        """Read that of the dataset in ``root``.

        Raises:
            LeRobotError: there is none, it is of another version, or something is missing in it.
        """
        path = root / layout.INFO
        content = _json(path)
        version = content.get("codebase_version")
        if not isinstance(version, str) or not version.startswith("v3."):
            raise LeRobotError(
                f"{path}: expected a dataset of version v3, got {version!r}; LeRobot has a converter for older ones"
            )
        fps = content.get("fps")
        if not isinstance(fps, int | float) or fps <= 0 or fps != int(fps):
            raise LeRobotError(f"{path}: expected a whole number of frames per second, got fps {fps!r}")
        if not isinstance(content.get("features"), dict):
            raise LeRobotError(f"{path}: expected features, got {content.get('features')!r}")
        return cls(
            fps=int(fps),
            features={key: Feature.from_json(key, value) for key, value in content["features"].items()},
            episodes=int(content.get("total_episodes", 0)),
            frames=int(content.get("total_frames", 0)),
            tasks=int(content.get("total_tasks", 0)),
            robot_type=content.get("robot_type"),
            data_path=content.get("data_path") or layout.DATA,
            video_path=content.get("video_path") or layout.VIDEO,
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise LeRobotError(f"{path.parent.parent}: expected a LeRobot dataset, it has no {layout.INFO}") from None
    except (OSError, ValueError) as error:
        raise LeRobotError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise LeRobotError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
