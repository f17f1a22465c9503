# SPDX-License-Identifier: Apache-2.0
"""A managed node from start to end: its callbacks on one thread, its log, an orderly way down from any state."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from rclpy._rclpy_pybind11 import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from policy_ros.ros.lifecycle import ManagedNode

_JOIN_S = 1.0


def run_managed(node: ManagedNode, stop: threading.Event) -> int:
    """Run until ``stop`` is set or the callbacks' thread dies, then hold and shut down; the exit status."""
    node.stopping = stop
    _log_to_ros(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    died: list[BaseException] = []
    stopped = threading.Event()

    def spin() -> None:
        try:
            while not stopped.is_set():
                _spin(executor)
        except ExternalShutdownException:
            pass  # the context was shut down elsewhere
        except BaseException as error:
            died.append(error)
            stop.set()

    thread = threading.Thread(target=spin, name="ros", daemon=True)
    node.callback_thread = thread
    thread.start()
    if node.autostart and node.request("configure"):
        node.request("activate")
    stop.wait()
    if died:
        node.get_logger().fatal(f"the ROS executor died: {died[0]!r}")
    _end(node)
    stopped.set()
    executor.shutdown(timeout_sec=_JOIN_S)
    thread.join(_JOIN_S)
    node.destroy_node()
    return 1 if died else 0


def _spin(executor: SingleThreadedExecutor) -> None:
    """Spin until shutdown, or until a transition destroyed an entity that the executor was about to wait for.

    rclpy (Jazzy) raises then, where it could skip the entity; spinning again waits for what is left.
    """
    with suppress(InvalidHandle):
        executor.spin()


def _end(node: ManagedNode) -> None:
    """Hold, deactivate, clean up, finalise, from whatever state; a transition under way is waited for."""
    state = node.wait_for_transition()
    if state == "active":
        node.request("deactivate")
    if node.state_label == "inactive":
        node.request("cleanup")
    if node.state_label == "unconfigured":
        node.request("shutdown")


class _RosLogHandler(logging.Handler):
    """Sends records of the ROS-free rooms to the node's logger."""

    def __init__(self, node: ManagedNode) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def _log_to_ros(node: ManagedNode) -> None:
    logger = logging.getLogger("policy_ros")
    logger.addHandler(_RosLogHandler(node))
    logger.setLevel(logging.INFO)
    logger.propagate = False
