# SPDX-License-Identifier: Apache-2.0
"""``~/start_episode``, ``~/stop_episode`` and ``~/discard_episode``."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_srvs.srv import Trigger

from policy_ros.ros.guarded import guarded_service
from policy_ros.ros.recorder.episodes import EpisodeError


def offer_episode_services(node: Node, actions: dict[str, Callable[[], str]]) -> None:
    """One service for each action.

    Args:
        node: offers them below its own name.
        actions: service name to what it does; returns the answer, raises EpisodeError for a refusal.
    """
    for name, action in actions.items():

        def answer(
            request: Trigger.Request, response: Trigger.Response, action: Callable[[], str] = action
        ) -> Trigger.Response:
            try:
                response.message, response.success = action(), True
            except EpisodeError as refusal:
                response.message = str(refusal)
            return response

        node.create_service(Trigger, f"~/{name}", guarded_service(node, answer))
