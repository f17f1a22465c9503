# SPDX-License-Identifier: Apache-2.0
"""The command topics of the simulated robot: each controller subscribes to one and moves its joints."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from policy_ros.controllers import (
    CommandRefused,
    JointTrajectoryFollower,
    PositionForwarder,
    RateLimiter,
    Trajectory,
    TrajectoryPoint,
)
from policy_ros.ros.convert import stamp_to_ns
from policy_ros.ros.guarded import guarded
from policy_ros.ros.qos import COMMANDS
from policy_ros.ros.simulated_robot.parameters import ControllerParameters

_NS = 1_000_000_000
_LOG_EVERY_S = 2.0


class SimulatedControllers:
    """All controllers of the robot. Callbacks come from the executor's thread, :meth:`setpoints` from the loop's.

    Args:
        node: subscribes.
        controllers: by name; every joint has at most one.
        joints: of the robot, in its order.
        positions: where they are, ``(J,)``.
        steady_ns: the time that setpoints are asked for.
        ros_ns: the time that messages are stamped in.
    """

    def __init__(
        self,
        node: Node,
        controllers: Mapping[str, ControllerParameters],
        joints: Sequence[str],
        positions: NDArray[np.float64],
        *,
        steady_ns: Callable[[], int],
        ros_ns: Callable[[], int],
    ) -> None:
        self.received = 0
        self.refused = 0
        self._node = node
        self._steady_ns = steady_ns
        self._ros_ns = ros_ns
        self._lock = threading.Condition()  # told of every command
        self._setpoint = np.array(positions, dtype=np.float64)
        self._controllers = [
            self._create(name, controller, [joints.index(joint) for joint in controller.joints])
            for name, controller in controllers.items()
        ]

    def setpoints(self, now_ns: int, dt_s: float) -> NDArray[np.float64]:
        """Commanded positions ``dt_s`` after the last call, ``(J,)``; joints without a controller stay."""
        with self._lock:
            for controller, limiter, columns in self._controllers:
                command, _ = controller.sample(now_ns)
                self._setpoint[columns] = limiter.limit(command, dt_s)
            return self._setpoint.copy()

    def reset(self, positions: NDArray[np.float64]) -> None:
        """Forget all commands and keep ``positions`` ``(J,)``."""
        with self._lock:
            self._setpoint = np.array(positions, dtype=np.float64)
            for controller, limiter, columns in self._controllers:
                controller.reset(positions[columns])
                limiter.reset(positions[columns])

    def _create(
        self, name: str, parameters: ControllerParameters, columns: list[int]
    ) -> tuple[JointTrajectoryFollower | PositionForwarder, RateLimiter, list[int]]:
        positions = self._setpoint[columns]
        limits = np.array(parameters.max_velocity or [np.inf] * len(columns))
        limiter = RateLimiter(limits, positions)
        if parameters.type == "joint_trajectory":
            follower = JointTrajectoryFollower(
                parameters.joints,
                positions,
                allow_nonzero_velocity_at_end=parameters.allow_nonzero_velocity_at_trajectory_end,
            )
            callback = guarded(self._node, partial(self._follow, name, follower))
            self._node.create_subscription(JointTrajectory, parameters.command_topic(name), callback, COMMANDS)
            return follower, limiter, columns
        forwarder = PositionForwarder(parameters.joints, positions)
        callback = guarded(self._node, partial(self._forward, name, forwarder))
        self._node.create_subscription(Float64MultiArray, parameters.command_topic(name), callback, COMMANDS)
        return forwarder, limiter, columns

    def wait_until_received(self, commands: int, timeout_s: float) -> bool:
        """Until so many commands in all came and were taken over; False if they do not in time."""
        with self._lock:
            return self._lock.wait_for(lambda: self.received >= commands, timeout_s)

    def _follow(self, name: str, follower: JointTrajectoryFollower, message: JointTrajectory) -> None:
        if not message.points:
            self._count()
            self._node.get_logger().warning(f"{name}: empty trajectory ignored", throttle_duration_sec=_LOG_EVERY_S)
            return
        now_ns = self._steady_ns()
        trajectory = _trajectory(message, now_ns - self._ros_ns())
        try:
            with self._lock:
                follower.accept(trajectory, now_ns)
        except CommandRefused as error:
            self._refuse(name, error)
        self._count()

    def _forward(self, name: str, forwarder: PositionForwarder, message: Float64MultiArray) -> None:
        try:
            with self._lock:
                forwarder.accept(list(message.data))
        except CommandRefused as error:
            self._refuse(name, error)
        self._count()

    def _count(self) -> None:
        with self._lock:
            self.received += 1
            self._lock.notify_all()

    def _refuse(self, name: str, error: CommandRefused) -> None:
        self.refused += 1
        self._node.get_logger().error(f"{name}: command refused: {error}", throttle_duration_sec=_LOG_EVERY_S)


def _trajectory(message: JointTrajectory, ros_to_steady_ns: int) -> Trajectory:
    """The message on the steady clock, so that a step of the wall clock does not move a trajectory under way."""
    stamp_ns = stamp_to_ns(message.header.stamp)
    return Trajectory(
        joint_names=message.joint_names,
        points=[
            TrajectoryPoint(
                point.time_from_start.sec * _NS + point.time_from_start.nanosec,
                list(point.positions),
                list(point.velocities),
            )
            for point in message.points
        ],
        start_ns=None if stamp_ns == 0 else stamp_ns + ros_to_steady_ns,
    )
