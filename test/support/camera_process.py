# SPDX-License-Identifier: Apache-2.0
"""A camera driver as a process of its own, to be killed and started again: ``python -m support.camera_process``."""

from __future__ import annotations

import array
import os

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from .checkpoints import CAMERA, IMAGE_SHAPE

PERIOD_S = 0.03


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("camera_driver")
    publisher = node.create_publisher(Image, f"camera/{CAMERA}/image_raw", qos_profile_sensor_data)
    _, height, width = IMAGE_SHAPE
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)

    def publish() -> None:
        message.data = array.array("B", os.urandom(height * width * 3))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    node.create_timer(PERIOD_S, publish)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
