# SPDX-License-Identifier: Apache-2.0
"""What a person does at the robot: set a task up, start the policy, watch, stop it, note the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage

from demonstrating.film import Film
from demonstrating.processes import SPECTATOR_TOPIC, DemoError
from policy_ros.ros.convert import stamp_to_ns
from policy_ros.ros.qos import sensor
from policy_ros.ros.simulated_robot.client import EpisodeClient, EpisodeResult

START_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 60.0  # a transition on a busy machine
_POLL_S = 0.02
_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}


class Operator:
    """Drives robot and node over ROS, with a context and a thread of its own.

    Args:
        check: called while waiting; raises when waiting is in vain.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.film = Film()
        self._check = check
        self._problem = ""
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("demonstration", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._episodes = EpisodeClient(self._node, on_problem=self._note_problem)
        self._transitions = self._node.create_client(ChangeState, "policy/change_state")
        self._node.create_subscription(
            CompressedImage, SPECTATOR_TOPIC, self._on_picture, sensor("best_effort", depth=2)
        )
        self._thread = threading.Thread(target=self._spin, name="operator", daemon=True)
        self._thread.start()

    def wait_until_ready(self) -> None:
        """Until robot and node answer."""
        self._wait(lambda: self._episodes.ready, START_TIMEOUT_S, "the simulated robot")
        self._wait(self._transitions.service_is_ready, START_TIMEOUT_S, "the policy node")

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Until a condition holds; raises DemoError if it does not in time."""
        self._wait(condition, START_TIMEOUT_S, what)

    def transition(self, name: str) -> None:
        """Let the node change its state; raises DemoError if it refuses or does not answer."""
        request = ChangeState.Request(transition=Transition(id=_TRANSITIONS[name]))
        answer = self._transitions.call_async(request)
        self._wait(answer.done, START_TIMEOUT_S if name == "configure" else CALL_TIMEOUT_S, f"the node to {name}")
        if not answer.result().success:
            raise DemoError(f"the policy node refused to {name}; see policy_node.log")

    def begin(self, index: int) -> None:
        """Set up the next task and start the policy."""
        self.film = Film()
        self._episodes.request()
        self._wait(lambda: self._episodes.running == index, CALL_TIMEOUT_S, f"episode {index}")
        self.transition("activate")

    def finish(self, index: int, timeout_s: float, on_wait: Callable[[], None]) -> EpisodeResult:
        """Watch until the episode is over; ``on_wait`` is called now and then."""
        results = self._episodes.results
        self._wait(
            lambda: len(results) > index, timeout_s + CALL_TIMEOUT_S, f"the end of episode {index}", on_wait=on_wait
        )
        return results[index]

    def close(self) -> None:
        """End thread and context."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _wait(
        self,
        condition: Callable[[], Any],
        timeout_s: float,
        what: str,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            on_wait()
            if self._problem:
                raise DemoError(self._problem)
            if time.monotonic() > deadline_s:
                raise DemoError(f"waited {timeout_s:g} s for {what} in vain; see the logs")
            time.sleep(_POLL_S)

    def _note_problem(self, text: str) -> None:
        self._problem = text

    def _on_picture(self, message: CompressedImage) -> None:
        if self._episodes.running is None:
            return
        self.film.add(bytes(message.data), stamp_to_ns(message.header.stamp))

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # closed while waiting
            self._executor.spin()
