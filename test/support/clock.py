# SPDX-License-Identifier: Apache-2.0
"""Simulated time for tests."""

from __future__ import annotations

from rosgraph_msgs.msg import Clock

from .robot import FakeRobot


class SimulatedClock:
    """Publishes /clock from the robot's node."""

    def __init__(self, robot: FakeRobot) -> None:
        self.time_ns = 1_000_000_000
        self._publisher = robot.node.create_publisher(Clock, "/clock", 10)
        self._timer = robot.node.create_timer(0.01, self._tick)
        self.running = True
        robot.script.joint_stamp = robot.script.camera_stamp = lambda now_ns: self.time_ns

    def _tick(self) -> None:
        if self.running:
            self.time_ns += 10_000_000
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(self.time_ns, 1_000_000_000)
            self._publisher.publish(message)
