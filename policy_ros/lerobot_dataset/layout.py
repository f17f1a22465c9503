# SPDX-License-Identifier: Apache-2.0
"""Where the files of a LeRobot dataset v3.0 lie, and when a new one is begun.

Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3. Many episodes share a file; ``meta/episodes`` tells
which rows of which parquet file and which seconds of which video are those of an episode.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "v3.0"
INFO = "meta/info.json"
STATISTICS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

FILES_IN_CHUNK = 1000
DATA_FILE_BYTES = 100 * 1024**2
VIDEO_FILE_BYTES = 200 * 1024**2


@dataclass(frozen=True)
class FileNumber:
    """One file among those of a kind: directories of at most ``FILES_IN_CHUNK`` files."""

    chunk: int = 0
    file: int = 0

    def next(self) -> FileNumber:
        """The file after this one."""
        if self.file + 1 < FILES_IN_CHUNK:
            return FileNumber(self.chunk, self.file + 1)
        return FileNumber(self.chunk + 1, 0)

    def path(self, template: str, video_key: str = "") -> str:
        """Its path below the dataset's directory."""
        return template.format(chunk_index=self.chunk, file_index=self.file, video_key=video_key)
