# SPDX-License-Identifier: Apache-2.0
"""This process's node on the graph, with callbacks on a thread of their own, and waits that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from policy_ros.errors import PolicyRosError

_POLL_S = 0.005
_JOIN_S = 2.0


class ThroughRosError(PolicyRosError):
    """A replay through ROS cannot begin or go on."""


class Interrupted(ThroughRosError):
    """Somebody asked for the end."""


class Link:
    """A node with a context of its own.

    Args:
        name: of the node.
        stop: set when everything shall end.
        check: called while waiting; raises when waiting is in vain.
        arguments: of ROS.

    Attributes:
        node: for publishers, subscriptions and clients, all made before :meth:`start`.
        stop: as given.
    """

    def __init__(
        self,
        name: str,
        stop: threading.Event,
        *,
        check: Callable[[], None] = lambda: None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.stop = stop
        self.check = check
        self._died: list[BaseException] = []
        self._context = Context()
        rclpy.init(args=list(arguments), context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)

    def start(self) -> None:
        """Let the callbacks run."""
        self._thread.start()

    def wait_for(self, condition: Callable[[], object], timeout_s: float, what: Callable[[], str]) -> None:
        """Until a condition holds.

        Args:
            condition: polled.
            timeout_s: longest wait [s].
            what: what is being waited for, and what is known about it; asked for when it did not come.

        Raises:
            ThroughRosError: it did not come in time, or waiting is in vain.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self.raise_if_over()
            if time.monotonic() > deadline_s:
                raise ThroughRosError(f"waited {timeout_s:g} s in vain for {what()}")
            self.stop.wait(_POLL_S)

    def raise_if_over(self) -> None:
        """Raise what makes going on pointless: the wish to end, a dead thread, or what ``check`` finds."""
        if self.stop.is_set():
            raise Interrupted("interrupted")
        if self._died:
            raise ThroughRosError(f"the callbacks' thread died: {self._died[0]!r}")
        self.check()

    def close(self) -> None:
        """End thread and context."""
        self._executor.shutdown(timeout_sec=_JOIN_S)
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        # Tells the other participants now, and gives the shared memory back.
        self._context.destroy()

    def _spin(self) -> None:
        try:
            with suppress(ExternalShutdownException):  # closed while waiting
                self._executor.spin()
        except BaseException as error:
            self._died.append(error)
