# SPDX-License-Identifier: Apache-2.0
"""Tells people why samples are dropped, while they are being dropped."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node

from policy_ros.observation import ObservationAssembler

_LOG_EVERY_S = 5.0


class StreamProblems:
    """Compares drop counts between calls, so that a problem that is over is no longer reported.

    Args:
        node: logs.
        assembler: counts.
        topics: stream to topic name.
    """

    def __init__(self, node: Node, assembler: ObservationAssembler, topics: Mapping[str, str]) -> None:
        self._node = node
        self._assembler = assembler
        self._topics = topics
        self._dropped = dict.fromkeys(topics, 0)

    def update(self, now_ns: int) -> dict[str, str]:
        """Stream to the reason of its newest dropped sample, where any was dropped since the previous call; logged."""
        errors = self._assembler.last_errors
        current = {}
        for stream, statistics in self._assembler.statistics(now_ns).items():
            if statistics.dropped > self._dropped[stream] and stream in errors:
                current[stream] = errors[stream]
            self._dropped[stream] = statistics.dropped
        if current:
            text = "; ".join(f"'{self._topics[stream]}': sample dropped: {error}" for stream, error in current.items())
            self._node.get_logger().error(text, throttle_duration_sec=_LOG_EVERY_S)
        return current
