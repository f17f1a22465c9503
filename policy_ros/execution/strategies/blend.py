# SPDX-License-Identifier: Apache-2.0
"""Cross-fade from one chunk to the next: what can be done for a policy that cannot be guided, such as ACT."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.timeline import Timeline
from policy_ros.rtc import prefix_weights


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
        cross_fade(timeline, chunk, self._schedule)


def cross_fade(timeline: Timeline, chunk: ActionChunk, schedule: str) -> None:
    """Replace what is planned by ``chunk``, fading in over the rows that both have.

    Args:
        timeline: is changed.
        chunk: row 0 belongs to ``chunk.first_step``, which may be past.
        schedule: of the weights, see :func:`policy_ros.rtc.prefix_weights`.
    """
    first = max(0, timeline.step - chunk.first_step)  # d
    end = min(timeline.end - chunk.first_step, chunk.horizon)  # N: the old chunk has rows up to here
    rows = chunk.actions.copy()
    if end > first:
        old = timeline.window(timeline.step, end - first)
        weights = prefix_weights(first, end, chunk.horizon, schedule)[first:end, None]
        rows[first:end] = weights * old + (1.0 - weights) * rows[first:end]
    timeline.replace(chunk.first_step, rows)
