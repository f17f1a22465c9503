# SPDX-License-Identifier: Apache-2.0
"""Tells whether the node's callbacks still run; if not, what looks fresh may be old, and nobody can intervene."""

from __future__ import annotations

import time

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD_S = 0.05


class Heartbeat:
    """A steady timer on the thread of the callbacks; anybody may ask when it last came by.

    Args:
        node: whose callbacks are watched.
        timeout_s: without a sign of life for longer than this they count as stalled [s].
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._node = node
        self._beat_s = time.monotonic()
        self._timer = node.create_timer(
            _PERIOD_S,
            self._beat,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def age_s(self) -> float:
        """Time since the callbacks last ran [s]."""
        return time.monotonic() - self._beat_s

    def stalled(self) -> bool:
        """Whether the callbacks have not run for too long."""
        return self.age_s() > self.timeout_s

    def destroy(self) -> None:
        """Remove the timer."""
        self._node.destroy_timer(self._timer)

    def _beat(self) -> None:
        self._beat_s = time.monotonic()
