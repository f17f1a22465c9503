# SPDX-License-Identifier: Apache-2.0
"""The referee's decisions on the topic ``episode``."""

from __future__ import annotations

from rclpy.node import Node

from policy_ros.msg import Episode
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.qos import STATUS
from policy_ros.simulation.referee import Decision, Verdict

_MESSAGES = {
    Decision.STARTED: (Episode.STARTED, Episode.UNKNOWN),
    Decision.SUCCESS: (Episode.ENDED, Episode.SUCCESS),
    Decision.FAILURE: (Episode.ENDED, Episode.FAILURE),
    Decision.DISCARDED: (Episode.DISCARDED, Episode.UNKNOWN),
}


class EpisodePublisher:
    """``policy_ros/msg/Episode`` for everything that others need to know; ``task`` is what is to be done."""

    def __init__(self, node: Node, task: str) -> None:
        self._publisher = node.create_publisher(Episode, "episode", STATUS)
        self._task = task

    def publish(self, verdict: Verdict, stamp_ns: int) -> None:
        """Publish a decision, unless it is one that concerns the robot only."""
        if verdict.decision not in _MESSAGES:
            return
        event, result = _MESSAGES[verdict.decision]
        message = Episode(index=verdict.index, event=event, result=result, task=self._task)
        message.header.stamp = ns_to_stamp(stamp_ns)
        self._publisher.publish(message)
