# SPDX-License-Identifier: Apache-2.0
"""A robot for tests: publishes joint states and a camera on its own thread and records what it is commanded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from policy_ros.msg import ActionChunk, PolicyStatus

from .checkpoints import CAMERA, IMAGE_SHAPE, JOINTS

_JOINT_PERIOD_S = 0.01
_CAMERA_EVERY = 3


@dataclass(frozen=True)
class Command:
    """A command as it arrived; ``time_s`` is monotonic."""

    time_s: float
    message: JointTrajectory | Float64MultiArray

    @property
    def stamp_s(self) -> float:
        """When a trajectory begins, as the node says; 0: when it arrives."""
        stamp = self.message.header.stamp
        return stamp.sec + stamp.nanosec * 1e-9

    @property
    def positions(self) -> list[float]:
        """Row 0."""
        if isinstance(self.message, JointTrajectory):
            return list(self.message.points[0].positions)
        return list(self.message.data)


@dataclass
class Script:
    """What the robot publishes now; tests change it while it runs."""

    joints: bool = True
    camera: bool = True
    joint_names: tuple[str, ...] = JOINTS
    positions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(JOINTS, 0.0))
    joint_stamp: Callable[[int], int] = lambda now_ns: now_ns
    camera_stamp: Callable[[int], int] = lambda now_ns: now_ns
    encoding: str = "rgb8"
    corrupt_step: bool = False
    frozen: bool = False


class FakeRobot:
    """Publishes at 100 Hz and 33 Hz until closed.

    Args:
        domain_id: ROS domain.
        listen: subscribe to the command topics, as a controller would.
        namespace: of all its topics.
    """

    def __init__(self, domain_id: int, *, listen: bool = True, namespace: str = "") -> None:
        self.script = Script()
        self._shade = 0
        self.commands: list[Command] = []
        self.arrays: list[Command] = []
        self.chunks: list[ActionChunk] = []
        self.statuses: list[PolicyStatus] = []
        self.diagnostics: dict[str, object] = {}
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = Node("fake_robot", namespace=namespace, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._joints = self.node.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        self._camera = self.node.create_publisher(Image, f"camera/{CAMERA}/image_raw", qos_profile_sensor_data)
        if listen:
            self.listen()
        status_qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(PolicyStatus, "policy/status", self.statuses.append, status_qos)
        self.node.create_subscription(ActionChunk, "policy/action_chunk", self.chunks.append, status_qos)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, status_qos)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._executor.spin, name="robot spin", daemon=True),
            threading.Thread(target=self._publish, name="robot publish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def status(self) -> PolicyStatus:
        """Newest status."""
        return self.statuses[-1]

    def diagnostic(self, name: str) -> str:
        """Newest message of one entry of the diagnostics; empty before the first."""
        return self.diagnostics[name].message if name in self.diagnostics else ""

    def listen(self) -> None:
        """Subscribe to the commands."""
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(JointTrajectory, "arm/joint_trajectory", self._record(self.commands), reliable)
        self.node.create_subscription(Float64MultiArray, "arm/commands", self._record(self.arrays), reliable)

    def close(self) -> None:
        """End both threads and the context."""
        self._stop.set()
        self._threads[1].join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        self._threads[0].join()

    def publish_joints(self) -> None:
        """One joint state as the script says."""
        script = self.script
        message = JointState(name=list(script.joint_names))
        message.position = [float(script.positions[name]) for name in script.joint_names]
        self._stamp(message, script.joint_stamp)
        self._joints.publish(message)

    def publish_image(self) -> None:
        """One image as the script says."""
        _, height, width = IMAGE_SHAPE
        message = Image(height=height, width=width, encoding=self.script.encoding, step=3 * width)
        if not self.script.frozen:
            self._shade = (self._shade + 1) % 200  # no two frames in a row are the same, as with a real sensor
        message.data = np.full(height * width * 3, self._shade, np.uint8).tobytes()
        if self.script.corrupt_step:
            message.step = 7
        self._stamp(message, self.script.camera_stamp)
        self._camera.publish(message)

    def _publish(self) -> None:
        ticks = 0
        while not self._stop.wait(_JOINT_PERIOD_S):
            ticks += 1
            if self.script.joints:
                self.publish_joints()
            if self.script.camera and ticks % _CAMERA_EVERY == 0:
                self.publish_image()

    def _stamp(self, message: JointState | Image, stamp: Callable[[int], int]) -> None:
        nanoseconds = stamp(time.time_ns())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 1_000_000_000)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = status

    @staticmethod
    def _record(into: list[Command]) -> Callable[[object], None]:
        return lambda message: into.append(Command(time.monotonic(), message))
