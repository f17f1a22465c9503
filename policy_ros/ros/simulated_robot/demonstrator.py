# SPDX-License-Identifier: Apache-2.0
"""The scripted expert at the robot's command topics, as any other node that commands it."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node

from policy_ros.errors import ConfigurationError
from policy_ros.ros.outputs import OUTPUT_TYPES
from policy_ros.ros.simulated_robot.parameters import ControllerParameters
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.expert import Expert
from policy_ros.simulation.kinematics import UnreachableError
from policy_ros.simulation.robot import SimulatedRobot

ROWS = 5  # of a trajectory: what the arm runs on by itself when the next command is late
_LOG_EVERY_S = 2.0


class Demonstrator:
    """Publishes what the expert commands, through the same outputs as the policy node.

    A trajectory begins one period after the tick, as the policy node's do by default.

    Args:
        node: publishes.
        robot: whose state the expert sees.
        controllers: the robot's, by name; each joint needs one.
        rate_hz: of the commands.

    Raises:
        ConfigurationError: the robot is not the one that the expert knows, or a joint has no controller.
    """

    def __init__(
        self, node: Node, robot: SimulatedRobot, controllers: Mapping[str, ControllerParameters], rate_hz: float
    ) -> None:
        if robot.pick is None:
            raise ConfigurationError(f"expert: expected env_id {ENVIRONMENT_ID}, the only one that an expert is for")
        commanded = {joint for controller in controllers.values() for joint in controller.joints}
        if missing := [joint for joint in robot.joints if joint not in commanded]:
            raise ConfigurationError(f"expert: expected a controller for each joint, got none for {', '.join(missing)}")
        self._node = node
        self._env = robot.pick
        self._expert = Expert()
        self._period_s = 1.0 / rate_hz
        self._outputs = [
            OUTPUT_TYPES[controller.type](
                node,
                name=name,
                topic=controller.command_topic(name),
                joints=controller.joints,
                joint_names=robot.joints,
                dt_s=self._period_s,
                lead_s=self._period_s,
            )
            for name, controller in controllers.items()
        ]
        self.published = 0  # commands
        self._in_force = self._env.joint_positions

    def restart(self) -> None:
        """The arm was put somewhere else, at rest."""
        self._in_force = self._env.joint_positions

    def hold(self) -> None:
        """Command the arm to stay, so that what was commanded before the jump holds no longer."""
        for output in self._outputs:
            output.publish_hold(self._in_force)
            self.published += 1

    def publish(self, stamp_ns: int) -> None:
        """Command the robot as the expert would in its present state; nothing where there is no way."""
        try:
            plan = self._expert.plan(
                self._env.world, self._env.goal.position, self._in_force, rows=ROWS, period_s=self._period_s
            )
        except UnreachableError as error:
            self._node.get_logger().warning(f"the expert is lost: {error}", throttle_duration_sec=_LOG_EVERY_S)
            return
        for output in self._outputs:
            output.publish(plan, self._in_force, stamp_ns)
            self.published += 1
        self._in_force = plan[0]
