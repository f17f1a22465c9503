# SPDX-License-Identifier: Apache-2.0
"""Video files of a dataset: pictures in, one after the other, and a stretch of them out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import closest
from policy_ros.lerobot_dataset import extra
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.scheduling import scheduling_kept

Image = NDArray[np.uint8]

_ENCODER_CHATTER = ("SVT_LOG", "1")  # SVT-AV1 prints its configuration otherwise; 1: errors only
_TOLERANCE_S = 1e-4  # LeRobot's: a picture further from its frame's time is another frame's


@dataclass(frozen=True)
class VideoCodec:
    """How pictures are encoded.

    Attributes:
        encoder: FFmpeg's name of it.
        pixels: FFmpeg's name of the pixel format it is given.
        options: of the encoder. Every other frame is a key frame, as LeRobot has it: training reads frames at random.
        even: whether height and width must be even.
    """

    encoder: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)
    even: bool = True


CODECS: Mapping[str, VideoCodec] = {
    "av1": VideoCodec("libsvtav1", "yuv420p", {"g": "2", "crf": "30", "preset": "10"}),
    "h264": VideoCodec("libx264", "yuv420p", {"g": "2", "crf": "18", "bf": "0", "preset": "veryfast"}),
    "h264-lossless": VideoCodec(
        "libx264rgb", "rgb24", {"g": "2", "qp": "0", "bf": "0", "preset": "veryfast"}, even=False
    ),
}


def find_codec(name: str) -> VideoCodec:
    """The codec of this name, known to be in the FFmpeg that is there.

    Raises:
        LeRobotError: no such codec, or FFmpeg was built without it.
    """
    if name not in CODECS:
        raise LeRobotError(f"video codec '{name}': {closest(name, CODECS)}")
    os.environ.setdefault(*_ENCODER_CHATTER)
    codec = CODECS[name]
    try:
        extra.av().codec.Codec(codec.encoder, "w")
    except ValueError:
        raise LeRobotError(
            f"video codec '{name}': the FFmpeg of the package 'av' has no {codec.encoder}; take another codec"
        ) from None
    return codec


class VideoFileWriter:
    """Writes one file with a constant frame rate.

    Args:
        path: of the ``.mp4`` file.
        fps: frames per second.
        size: height and width of every picture [pixel].
    """

    def __init__(self, path: Path, fps: int, size: tuple[int, int], codec: VideoCodec) -> None:
        height, width = size
        if codec.even and (height % 2 or width % 2):
            raise LeRobotError(
                f"{path}: {codec.encoder} needs an even height and width, got {height} x {width}; "
                "take --video-codec h264-lossless or --image-format png"
            )
        self._av = extra.av()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self.bytes = 0  # encoded so far
        self._fps = fps
        self._opened = False
        self._container = self._av.open(os.fspath(path), "w", options={"movflags": "faststart"})
        self._stream = self._container.add_stream(codec.encoder, fps, options=dict(codec.options))
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = codec.pixels
        self._stream.time_base = Fraction(1, fps)

    @property
    def seconds(self) -> float:
        """Where the next picture will be."""
        return self.frames / self._fps

    def add(self, image: Image) -> None:
        """Encode a picture ``(3, H, W)``."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image.transpose(1, 2, 0)), format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self._fps)
        self._encode(frame)
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds back, and the index."""
        self._encode(None)
        self._container.close()

    def _encode(self, frame: Any) -> None:
        with nullcontext() if self._opened else scheduling_kept():  # the first picture opens the encoder
            packets = self._stream.encode(frame)
        self._opened = True
        for packet in packets:
            self.bytes += packet.size
            self._container.mux(packet)

    def abandon(self) -> None:
        """Close the file without finishing it."""
        self._container.close()


def describe(path: Path) -> dict[str, Any]:
    """The first video stream of a file, in the words of ``meta/info.json``.

    Raises:
        LeRobotError: it cannot be read.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.fps": int(stream.base_rate),
            "video.channels": 3,
            "has_audio": False,
            "is_depth_map": False,
        }


def read_pictures(path: Path, start_s: float, fps: int, count: int) -> Iterator[Image]:
    """The pictures ``(3, H, W)`` at ``start_s + i / fps``, decoded one after the other.

    Raises:
        LeRobotError: the file cannot be read, is damaged, or has no picture at one of these times.
    """
    index = 0
    with _opened(path) as container:
        stream = container.streams.video[0]
        container.seek(max(0, round(start_s / stream.time_base) - 1), stream=stream)
        try:
            for frame in container.decode(stream):
                wanted_s = start_s + index / fps
                time_s = float(frame.pts * stream.time_base)
                if time_s < wanted_s - _TOLERANCE_S:
                    continue
                if time_s > wanted_s + _TOLERANCE_S:
                    raise LeRobotError(
                        f"{path}: expected a picture at {wanted_s:.4f} s, got the next at {time_s:.4f} s"
                    )
                yield np.ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1))
                index += 1
                if index == count:
                    return
        except extra.av().error.FFmpegError as error:
            raise LeRobotError(f"{path}: cannot be decoded after {index} pictures: {error}") from None
    raise LeRobotError(f"{path}: expected {count} pictures from {start_s:.4f} s on, it ends after {index}")


class _opened:
    """A container that is read and closed."""

    def __init__(self, path: Path) -> None:
        av = extra.av()
        try:
            self._container = av.open(os.fspath(path))
        except (OSError, av.error.FFmpegError) as error:
            raise LeRobotError(f"{path}: cannot be read: {error}") from None
        if not self._container.streams.video:
            self._container.close()
            raise LeRobotError(f"{path}: expected a video, it has no video stream")

    def __enter__(self) -> Any:
        return self._container

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()
