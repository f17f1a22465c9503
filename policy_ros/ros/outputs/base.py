# SPDX-License-Identifier: Apache-2.0
"""What every command topic does: pick its joints' columns, publish a window of rows, publish a hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from policy_ros.ros.qos import COMMANDS


class Output(ABC):
    """One command topic with its own joints.

    Args:
        node: publishes.
        name: group name in the parameters, for messages to people.
        topic: command topic, relative or absolute.
        joints: joints of this controller in its order.
        joint_names: joints of the action vector, in its order; contains all of ``joints``.
        dt_s: control period [s].
        lead_s: distance of the first point from the tick [s], for types that carry time.
    """

    message_type: type

    def __init__(
        self,
        node: Node,
        *,
        name: str,
        topic: str,
        joints: Sequence[str],
        joint_names: Sequence[str],
        dt_s: float,
        lead_s: float,
    ) -> None:
        self.name = name
        self.joints = tuple(joints)
        self._columns = [joint_names.index(joint) for joint in joints]
        self._dt_s = dt_s
        self._lead_s = lead_s
        self._node = node
        self._publisher = node.create_publisher(self.message_type, topic, COMMANDS)
        self.topic = self._publisher.topic_name

    def publish(self, window: NDArray[np.float64], previous: NDArray[np.float64] | None, stamp_ns: int) -> None:
        """Publish a window.

        Args:
            window: rows ``(K, A)`` in robot units, row 0 due now.
            previous: the row before, None at the beginning.
            stamp_ns: ROS time of the tick.
        """
        last = None if previous is None else previous[self._columns]
        self._publisher.publish(self._message(window[:, self._columns], last, stamp_ns))

    def publish_hold(self, positions: NDArray[np.float64]) -> None:
        """Publish one short command that keeps ``positions`` ``(A,)``."""
        self._publisher.publish(self._hold_message(positions[self._columns]))

    def listeners(self) -> int:
        """Number of matched subscriptions."""
        return self._publisher.get_subscription_count()

    def other_publishers(self) -> list[str]:
        """Nodes that publish on the same topic too."""
        own = (self._node.get_name(), self._node.get_namespace())
        found = [(info.node_name, info.node_namespace) for info in self._node.get_publishers_info_by_topic(self.topic)]
        if own in found:
            found.remove(own)
        return [f"{namespace.rstrip('/')}/{name}" for name, namespace in found]

    def destroy(self) -> None:
        self._node.destroy_publisher(self._publisher)

    @abstractmethod
    def _message(self, rows: NDArray[np.float64], previous: NDArray[np.float64] | None, stamp_ns: int):
        """The command for rows ``(K, J)`` in this controller's order."""

    @abstractmethod
    def _hold_message(self, positions: NDArray[np.float64]):
        """The command to stay at ``(J,)``; it must not depend on when it arrives."""
