# SPDX-License-Identifier: Apache-2.0
"""A bag made up for measuring: two cameras, joints and commands, as a small robot would record them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from policy_ros.parameters.node import (
    CameraParameters,
    ExecutionParameters,
    JointParameters,
    NodeParameters,
    OutputParameters,
)

JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "gripper_joint")
CAMERAS = ("top", "wrist")
SIZE = (480, 640)  # rows, columns
CAMERA_HZ, JOINT_HZ, COMMAND_HZ = 30, 100, 50
_PICTURES = 8  # different ones, of noise
_BEGIN_NS = 1_700_000_000_000_000_000
_NS = 1_000_000_000

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def parameters() -> NodeParameters:
    """The configuration of the robot that such a bag is of."""
    return NodeParameters(
        joints=JointParameters(names=JOINTS),
        cameras={name: CameraParameters() for name in CAMERAS},
        execution=ExecutionParameters(rate_hz=COMMAND_HZ),
        outputs={"arm": OutputParameters(type="position_array", topic="arm_controller/commands", joints=JOINTS)},
    )


def record(path: Path, seconds: float, storage: str = "mcap", size: tuple[int, int] = SIZE) -> None:
    """Write the bag: rgb8 at 30 Hz from two cameras, joint states at 100 Hz, commands at 50 Hz.

    Args:
        path: directory that does not exist yet.
        seconds: length [s].
        storage: ``mcap`` or ``sqlite3``.
        size: rows and columns of the pictures.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        connections: dict[str, Any] = {}
        for log_ns, topic, message in sorted(_messages(store, seconds, size), key=lambda each: each[0]):
            type_ = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=store)
            writer.write(connections[topic], log_ns, store.serialize_cdr(message, type_))


def _messages(store: Typestore, seconds: float, size: tuple[int, int]) -> Iterator[tuple[int, str, Any]]:
    types = store.types
    height, width = size
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (_PICTURES, height * width * 3), dtype=np.uint8)

    def header(stamp_ns: int) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    def times(rate_hz: int, late_ns: int) -> Iterator[tuple[int, int]]:
        for i in range(int(seconds * rate_hz)):
            yield i, _BEGIN_NS + i * _NS // rate_hz + late_ns

    for offset, camera in enumerate(CAMERAS):
        for i, log_ns in times(CAMERA_HZ, 9_000_000 + offset):
            picture = types["sensor_msgs/msg/Image"](
                header=header(log_ns - 9_000_000),
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=pictures[(i + offset) % _PICTURES],
            )
            yield log_ns, f"/camera/{camera}/image_raw", picture
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    for i, log_ns in times(JOINT_HZ, 500_000):
        positions = np.sin(i / JOINT_HZ + np.arange(len(JOINTS)))
        joints = types["sensor_msgs/msg/JointState"](
            header=header(log_ns - 500_000),
            name=list(JOINTS),
            position=positions,
            velocity=np.zeros(len(JOINTS)),
            effort=np.zeros(len(JOINTS)),
        )
        yield log_ns, "/joint_states", joints
    for i, log_ns in times(COMMAND_HZ, 1_000_000):
        positions = np.sin(i / COMMAND_HZ + np.arange(len(JOINTS)))
        yield log_ns, "/arm_controller/commands", types["std_msgs/msg/Float64MultiArray"](layout=layout, data=positions)
