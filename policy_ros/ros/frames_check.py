# SPDX-License-Identifier: Apache-2.0
"""Do camera images arrive from another process? Best effort, 640x480, 30 Hz, in a ROS domain of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from policy_ros.ros.installation import with_middleware_profile

TOPIC = "policy_ros_doctor/image_raw"
FRAMES = 90
RATE_HZ = 30.0
HEIGHT, WIDTH = 480, 640
TIMEOUT_S = 15.0
# Without the working directory on the path: the source folder would hide the installed package.
_CHILD = "import sys; sys.path = [p for p in sys.path if p]; from policy_ros.ros.frames_check import publish; publish()"


def measure(environment: Mapping[str, str]) -> tuple[int, int]:
    """Publish from a child process; images published and received. Both sides use the shipped middleware profile."""
    domain_id = 1 + os.getpid() % 100
    profiled = with_middleware_profile(environment)
    profiled.update(ROS_DOMAIN_ID=str(domain_id), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    os.environ.update(profiled)  # the middleware of this process reads it when its context starts
    publisher = subprocess.Popen([sys.executable, "-c", _CHILD], env=profiled, stdout=subprocess.PIPE, text=True)
    try:
        sizes = _receive_while(lambda: publisher.poll() is None, domain_id)
        published = int(publisher.stdout.read() or 0) if publisher.poll() == 0 else 0
    finally:
        if publisher.poll() is None:
            publisher.kill()
        publisher.wait()
        publisher.stdout.close()
    return published, sum(size == HEIGHT * WIDTH * 3 for size in sizes)


def _receive_while(condition: Callable[[], bool], domain_id: int) -> list[int]:
    """Sizes of the images that arrive while the condition holds, and in the moment after."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = Node("policy_ros_doctor", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    sizes: list[int] = []
    node.create_subscription(Image, TOPIC, lambda message: sizes.append(len(message.data)), qos_profile_sensor_data)
    deadline = time.monotonic() + TIMEOUT_S
    while condition() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    for _ in range(10):
        executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)
    return sizes


def publish() -> None:
    """The child: waits for the subscription, publishes, prints how many."""
    rclpy.init()
    node = Node("policy_ros_doctor_camera")
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3, data=bytes(HEIGHT * WIDTH * 3))
    deadline = time.monotonic() + TIMEOUT_S / 2
    while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    start = time.monotonic()
    for i in range(FRAMES):
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        time.sleep(max(0.0, start + (i + 1) / RATE_HZ - time.monotonic()))
    node.destroy_node()
    rclpy.shutdown()
    print(FRAMES)
