# SPDX-License-Identifier: Apache-2.0
"""Cross-fade from one chunk to the next: what can be done for a policy that cannot be guided, such as ACT."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape
from policy_ros.execution.strategies.cross_fade import faded_in
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.timeline import Timeline


class BlendStrategy(OverlapStrategy):
    """As ``overlap``, but rows that both chunks have are averaged with the weights of real-time chunking.

    The first row executed is nearly the old one, the last that the old chunk has is nearly the new one. Averages of two
    good ways may be a bad one (left and right of an obstacle): a policy that can be guided should be, with ``rtc``.
    """

    name = "blend"

    def __init__(self, shape: ChunkShape, config: ExecutionConfig) -> None:
        super().__init__(shape, config)
        self._schedule = config.guidance.schedule

    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """Rows d to N of the new chunk fade in over the N - d rows that are still planned."""
        timeline.replace(chunk.first_step, faded_in(timeline, chunk, self._schedule))
