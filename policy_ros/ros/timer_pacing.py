# SPDX-License-Identifier: Apache-2.0
"""The alternative to a control thread, for ``policy-ros bench pacing``: an rclpy timer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

_JOIN_S = 2.0


class TimerPacing:
    """A timer on the steady clock, on a single-threaded executor that has nothing else to do.

    Its ROS domain is of its own, on this machine only.
    """

    name = "rclpy timer"

    def __init__(self) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self._context = Context()
        rclpy.init(
            context=self._context, domain_id=1 + os.getpid() % 100, signal_handler_options=SignalHandlerOptions.NO
        )
        self._node = Node("policy_ros_bench", context=self._context)
        self._end: Callable[[], None] = lambda: None

    def start(self, period_s: float, callback: Callable[[], None]) -> int:
        """Begin; the system's id of the executor's thread."""
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        timer = self._node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

        def spin() -> None:
            with suppress(ExternalShutdownException):
                executor.spin()

        thread = threading.Thread(target=spin, name="timer", daemon=True)

        def end() -> None:
            timer.cancel()
            executor.shutdown()
            thread.join(_JOIN_S)
            self._node.destroy_timer(timer)

        self._end = end
        thread.start()
        return thread.native_id

    def stop(self) -> None:
        """End the timer and its executor."""
        end, self._end = self._end, lambda: None
        end()

    def close(self) -> None:
        """Leave ROS."""
        self.stop()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
