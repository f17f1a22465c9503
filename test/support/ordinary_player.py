# SPDX-License-Identifier: Apache-2.0
"""Plays a bag as ``ros2 bag play BAG --clock`` does: at the recorded rate, with /clock at 40 Hz, waiting for nobody.

As a program: ``python -m support.ordinary_player BAG SECONDS_BEFORE TOPIC…``.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rosgraph_msgs.msg import Clock

from policy_ros.bags import open_bag
from policy_ros.ros.qos import LATCHED
from policy_ros.ros.recorder.definitions import message_class

CLOCK_HZ = 40.0


def main() -> None:
    path, before_s, *topics = sys.argv[1:]
    bag = open_bag(path)
    rclpy.init()
    node = rclpy.create_node("rosbag2_player")
    clock = node.create_publisher(Clock, "/clock", 1)
    publishers = {topic: _publisher(node, topic, bag.topics[topic].type) for topic in topics}

    def tell(time_ns: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(time_ns, 1_000_000_000)
        clock.publish(message)

    time.sleep(float(before_s))  # of a player that was just started: it publishes when it is ready, not when others are
    begin_s, next_clock_ns = time.monotonic(), bag.start_ns
    for message in bag.messages(topics):
        while next_clock_ns <= message.log_ns:
            _wait_until(begin_s + (next_clock_ns - bag.start_ns) * 1e-9)
            tell(next_clock_ns)
            next_clock_ns += round(1e9 / CLOCK_HZ)
        _wait_until(begin_s + (message.log_ns - bag.start_ns) * 1e-9)
        publishers[message.topic].publish(bytes(message.data))
    node.destroy_node()
    rclpy.shutdown()


def _publisher(node, topic: str, type_: str):
    """With the QoS that it was recorded with: a robot's description is latched."""
    return node.create_publisher(message_class(type_), topic, LATCHED if type_ == "std_msgs/msg/String" else 1)


def _wait_until(due_s: float) -> None:
    wait_s = due_s - time.monotonic()
    if wait_s > 0.0:
        time.sleep(wait_s)


if __name__ == "__main__":
    main()
