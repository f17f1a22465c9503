# SPDX-License-Identifier: Apache-2.0
"""What the simulated robot publishes: joint states and camera pictures."""

from __future__ import annotations

import array
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.qos import sensor


class JointStatePublisher:
    """``joint_states`` with positions and velocities."""

    def __init__(self, node: Node, joints: Sequence[str]) -> None:
        # Reliable offers serve best-effort subscribers too, and every tool's default.
        self._publisher = node.create_publisher(JointState, "joint_states", sensor("reliable", depth=10))
        self._message = JointState(name=list(joints))
        self.published = 0

    def publish(self, positions: NDArray[np.float64], velocities: NDArray[np.float64], stamp_ns: int) -> None:
        """Publish ``(J,)`` positions [rad, m] and velocities."""
        message = self._message
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.position = array.array("d", positions.tolist())
        message.velocity = array.array("d", velocities.tolist())
        self._publisher.publish(message)
        self.published += 1


class CameraPublisher:
    """Pictures of one camera, raw on ``<topic>`` and, on demand, JPEG on ``<topic>/compressed``."""

    def __init__(self, node: Node, topic: str, frame: str, *, raw: bool, compressed: bool, jpeg_quality: int) -> None:
        self.published = 0
        self.last: NDArray[np.uint8] | None = None
        qos = sensor("best_effort")
        self._frame = frame
        self._raw = node.create_publisher(Image, topic, qos) if raw else None
        self._compressed = node.create_publisher(CompressedImage, f"{topic}/compressed", qos) if compressed else None
        self._jpeg = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]

    def publish(self, picture: NDArray[np.uint8], stamp_ns: int) -> None:
        """Publish ``(H, W, 3)`` uint8 RGB, taken at ``stamp_ns``."""
        if self._raw is not None:
            self._raw.publish(self._raw_message(picture, stamp_ns))
        if self._compressed is not None:
            self._compressed.publish(self._compressed_message(picture, stamp_ns))
        self.last = picture
        self.published += 1

    def _raw_message(self, picture: NDArray[np.uint8], stamp_ns: int) -> Image:
        height, width, channels = picture.shape
        message = Image(height=height, width=width, encoding="rgb8", step=width * channels, is_bigendian=0)
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        # The setter takes an array('B') as it is; bytes it would check one by one. Filling the array copies 0.9 MB in
        # about 50 us.
        data = array.array("B")
        data.frombytes(np.ascontiguousarray(picture).data)
        message.data = data
        return message

    def _compressed_message(self, picture: NDArray[np.uint8], stamp_ns: int) -> CompressedImage:
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], self._jpeg)
        data = array.array("B")
        data.frombytes(encoded.data)
        message.data = data
        return message
