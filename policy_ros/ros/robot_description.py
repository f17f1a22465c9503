# SPDX-License-Identifier: Apache-2.0
"""The robot's URDF, as ``robot_state_publisher`` keeps it for late joiners."""

from __future__ import annotations

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import String

from policy_ros.ros.guarded import guarded
from policy_ros.ros.qos import LATCHED


class RobotDescription:
    """Keeps the newest description.

    Args:
        node: subscribes.
        topic: std_msgs/String.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self.urdf: str | None = None
        self._node = node
        self._subscription = node.create_subscription(
            String, topic, guarded(node, self._on_description), LATCHED, callback_group=MutuallyExclusiveCallbackGroup()
        )

    @property
    def topic(self) -> str:
        """Full name."""
        return self._subscription.topic_name

    def destroy(self) -> None:
        """Remove the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_description(self, message: String) -> None:
        self.urdf = message.data
