# SPDX-License-Identifier: Apache-2.0
"""Real bags for tests, written by rosbags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parents[2]
START_NS = 1_700_000_000_000_000_000
S = 1_000_000_000

STORE = get_typestore(Stores.ROS2_JAZZY)
for _file in sorted((ROOT / "msg").glob("*.msg")):
    STORE.register(get_types_from_msg(_file.read_text(), f"policy_ros/msg/{_file.stem}"))

JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
ARRAY = "std_msgs/msg/Float64MultiArray"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
EPISODE = "policy_ros/msg/Episode"


def ns(time_s: float) -> int:
    """Seconds after the start of a test's bag in nanoseconds."""
    return START_NS + round(time_s * S)


def time(stamp_ns: int) -> Any:
    return STORE.types["builtin_interfaces/msg/Time"](sec=stamp_ns // S, nanosec=stamp_ns % S)


def header(stamp_ns: int) -> Any:
    return STORE.types["std_msgs/msg/Header"](stamp=time(stamp_ns), frame_id="base")


def joint_state(stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> Any:
    zeros = np.zeros(len(positions))
    values = np.array(positions, dtype=np.float64)
    return STORE.types[JOINT_STATE](
        header=header(stamp_ns), name=list(names), position=values, velocity=zeros, effort=zeros[:0]
    )


def image(stamp_ns: int, pixels: np.ndarray, encoding: str = "rgb8", padding: int = 0) -> Any:
    """``pixels`` ``(H, W, C)`` uint8; every row is followed by ``padding`` bytes."""
    height, width, channels = pixels.shape
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)))
    return STORE.types[IMAGE](
        header=header(stamp_ns),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels + padding,
        data=rows.reshape(-1),
    )


def compressed_image(stamp_ns: int, data: bytes, format_: str = "png") -> Any:
    return STORE.types[COMPRESSED_IMAGE](
        header=header(stamp_ns), format=format_, data=np.frombuffer(data, dtype=np.uint8)
    )


def array(values: Sequence[float]) -> Any:
    layout = STORE.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    return STORE.types[ARRAY](layout=layout, data=np.array(values, dtype=np.float64))


def trajectory(stamp_ns: int, names: Sequence[str], points: Sequence[tuple[float, Sequence[float]]]) -> Any:
    """``points``: time from start [s] and positions."""
    point_type = STORE.types["trajectory_msgs/msg/JointTrajectoryPoint"]
    duration = STORE.types["builtin_interfaces/msg/Duration"]
    none = np.zeros(0)
    return STORE.types[TRAJECTORY](
        header=header(stamp_ns),
        joint_names=list(names),
        points=[
            point_type(
                positions=np.array(positions, dtype=np.float64),
                velocities=none,
                accelerations=none,
                effort=none,
                time_from_start=duration(sec=int(after_s), nanosec=round(after_s % 1.0 * S)),
            )
            for after_s, positions in points
        ],
    )


def episode(stamp_ns: int, index: int, event: int, *, result: int = 0, task: str = "") -> Any:
    return STORE.types[EPISODE](header=header(stamp_ns), index=index, event=event, result=result, task=task)


def serialized(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


class Recording:
    """A bag being written; messages are stored in the order in which they are added.

    Args:
        path: directory, must not exist.
        storage: ``mcap`` or ``sqlite3``.
        compression: None, ``file``, ``message`` or, for mcap, ``storage``.
    """

    def __init__(self, path: Path, storage: str = "mcap", compression: str | None = None) -> None:
        self.path = path
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = Writer(path, version=9, storage_plugin=plugin)
        if compression is not None:
            self._writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Connection] = {}

    def __enter__(self) -> Recording:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def topic(self, topic: str, type_: str) -> Connection:
        """Add a topic, also one that will have no messages."""
        if (topic, type_) not in self._connections:
            self._connections[topic, type_] = self._writer.add_connection(topic, type_, typestore=STORE)
        return self._connections[topic, type_]

    def add(self, topic: str, log_ns: int, message: Any) -> None:
        self.raw(topic, log_ns, message.__msgtype__, serialized(message))

    def raw(self, topic: str, log_ns: int, type_: str, data: bytes) -> None:
        """Add a message that may be malformed."""
        self._writer.write(self.topic(topic, type_), log_ns, data)


def storage_file(path: Path) -> Path:
    """The one file of a bag."""
    (file,) = (each for each in path.iterdir() if each.name != "metadata.yaml")
    return file
