# SPDX-License-Identifier: Apache-2.0
"""The video files of one camera while they are written: several episodes in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policy_ros.lerobot_dataset.layout import VIDEO, VIDEO_FILE_BYTES, FileNumber
from policy_ros.lerobot_dataset.video import Image, VideoCodec, VideoFileWriter

_FILE_S = 1800.0  # LeRobot compares times in float32 to 0.1 ms, which fails beyond 2048 s


@dataclass(frozen=True)
class Stretch:
    """Where the pictures of an episode are, [s] from the beginning of a file."""

    file: FileNumber
    start_s: float
    stop_s: float


class VideoFiles:
    """Writes a camera's pictures, episode by episode; a file that is full is followed by another."""

    def __init__(self, root: Path, key: str, fps: int, size: tuple[int, int], codec: VideoCodec) -> None:
        self._root, self._key, self._fps, self._size, self._codec = root, key, fps, size, codec
        self._number = FileNumber()
        self._writer: VideoFileWriter | None = None
        self._start_s = 0.0

    def add(self, image: Image) -> None:
        """One more picture ``(3, H, W)`` of the episode."""
        if self._writer is None:
            path = self._root / self._number.path(VIDEO, self._key)
            self._writer = VideoFileWriter(path, self._fps, self._size, self._codec)
        self._writer.add(image)

    def end_episode(self) -> Stretch:
        """Where the episode's pictures are; at least one was added."""
        assert self._writer is not None
        stretch = Stretch(self._number, self._start_s, self._writer.seconds)
        self._start_s = stretch.stop_s
        if self._writer.bytes >= VIDEO_FILE_BYTES or stretch.stop_s >= _FILE_S:
            self._number, self._start_s = self._number.next(), 0.0
            self._writer.close()
            self._writer = None
        return stretch

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
