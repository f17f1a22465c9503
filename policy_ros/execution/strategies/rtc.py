# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: the policy is guided to continue the rows that will be executed while it infers."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.execution.assessment import Assessment
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape, Guidance
from policy_ros.execution.strategies.blend import BlendStrategy
from policy_ros.execution.strategies.cross_fade import faded_in
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.timeline import Timeline


class RtcStrategy(OverlapStrategy):
    """Algorithm 1 with guidance; see :mod:`policy_ros.rtc` for the formulas.

    Guided only while ``d <= s <= H - d`` holds for the delay to expect: otherwise rows would be executed that nothing
    was guiding. Then the chunk is cross-faded as in ``blend``, and where not even rows to fade are left, the robot
    holds until the chunk arrives.

    Source: Black, Galliker, Levine, "Real-Time Execution of Action Chunking Flow Policies", arXiv 2506.07339.
    """

    name = "rtc"

    def __init__(self, shape: ChunkShape, config: ExecutionConfig) -> None:
        super().__init__(shape, config)
        self._options = config.guidance

    def guidance(self, timeline: Timeline, delay: int, execution_horizon: int) -> Guidance | None:
        """All rows that are not executed yet; there are none after a start or when the chunk ran dry."""
        if timeline.remaining == 0:
            return None
        prefix = timeline.window(timeline.step, self.shape.horizon).copy()
        return Guidance(prefix, delay, execution_horizon, self._options)

    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """A guided chunk continues the old one by itself; any other is faded in."""
        if chunk.guided:
            super().merge(timeline, chunk)
        else:
            timeline.replace(chunk.first_step, faded_in(timeline, chunk, self._options.schedule))

    def _without_margin(self, facts: str) -> Assessment:
        return Assessment(BlendStrategy.name, f"{facts}: cross-fading instead of guiding")
