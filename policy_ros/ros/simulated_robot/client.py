# SPDX-License-Identifier: Apache-2.0
"""Asks the simulated robot for tasks and hears how they went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from policy_ros.msg import Episode
from policy_ros.ros.convert import stamp_to_ns
from policy_ros.ros.guarded import guarded
from policy_ros.ros.qos import STATUS


@dataclass(frozen=True)
class EpisodeResult:
    """An episode that ended; ``seconds`` from its start to its end in the robot's time."""

    index: int
    success: bool
    seconds: float


class EpisodeClient:
    """Listens to ``episode`` and calls the robot's ``~/reset``.

    Args:
        node: its executor runs the callbacks.
        on_end: called there with each result.
        on_problem: called there with a line when the robot refuses or discards a task.

    Attributes:
        running: index of the episode under way, None between two.
        results: of the episodes that ended, in their order.
    """

    def __init__(
        self,
        node: Node,
        *,
        on_end: Callable[[EpisodeResult], None] = lambda result: None,
        on_problem: Callable[[str], None],
    ) -> None:
        self.running: int | None = None
        self.results: list[EpisodeResult] = []
        self._node = node
        self._on_end = on_end
        self._on_problem = on_problem
        self._started_ns = 0
        self._subscription = node.create_subscription(Episode, "episode", guarded(node, self._on_episode), STATUS)
        self._reset = node.create_client(Trigger, "simulated_robot/reset")

    @property
    def ready(self) -> bool:
        """Whether the robot is there and would be heard."""
        return self._reset.service_is_ready() and self._subscription.get_publisher_count() > 0

    def request(self) -> None:
        """Ask for the next task, and with it for the start of an episode."""
        self._reset.call_async(Trigger.Request()).add_done_callback(self._on_answer)

    def _on_answer(self, future: Future) -> None:
        response = future.result()
        if not response.success:
            self._on_problem(f"the robot has no further task: {response.message}")

    def _on_episode(self, message: Episode) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if message.event == Episode.STARTED:
            self.running, self._started_ns = message.index, stamp_ns
            return
        if message.index != self.running:
            return
        self.running = None
        if message.event == Episode.DISCARDED:
            self._on_problem(f"episode {message.index} was discarded: somebody asked for another task")
            return
        seconds = (stamp_ns - self._started_ns) * 1e-9
        result = EpisodeResult(message.index, message.result == Episode.SUCCESS, seconds)
        self.results.append(result)
        self._on_end(result)
