# SPDX-License-Identifier: Apache-2.0
"""The process of the simulated robot: its node and the callbacks' loop, until a signal ends it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from policy_ros.errors import PolicyRosError
from policy_ros.ros.process import run_process
from policy_ros.ros.simulated_robot.bridge import SimulatedRobotBridge

_SPIN_S = 0.1  # longest sleep of the main thread, and so the delay of a signal


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bridge until SIGINT or SIGTERM; 0 then, 1 after one line that says what is wrong."""
    # Drawing is quick; OpenCV's threads would only take the cores from the policy.
    cv2.setNumThreads(1)
    return run_process("simulated_robot", argv, lambda stop: _run(rclpy.create_node("simulated_robot"), stop))


def _run(node: Node, stop: threading.Event) -> int:
    try:
        bridge = SimulatedRobotBridge(node)
    except PolicyRosError as error:
        node.get_logger().fatal(str(error))
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    bridge.start()
    try:
        while not stop.is_set() and bridge.alive:
            executor.spin_once(timeout_sec=_SPIN_S)
    except ExternalShutdownException:
        pass  # somebody else shut the context down: an end like any other
    clean = bridge.stop()
    executor.shutdown(timeout_sec=_SPIN_S)
    node.destroy_node()
    return 0 if clean else 1
