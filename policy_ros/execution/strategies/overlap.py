# SPDX-License-Identifier: Apache-2.0
"""Infer while executing, and swap as soon as the new chunk is there."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.errors import ConfigurationError
from policy_ros.execution.assessment import HOLD, Assessment
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import is_feasible
from policy_ros.execution.strategies.base import ChunkShape, Strategy
from policy_ros.execution.timeline import Timeline


class OverlapStrategy(Strategy):
    """Starts an inference s steps after the previous observation and goes on executing meanwhile.

    When the chunk arrives, d steps later, its rows from d on replace the rest of the old one at once. The schedule is
    Algorithm 1 of Black, Galliker, Levine, arXiv 2506.07339, without guidance.
    """

    name = "overlap"
    gapless = True

    def __init__(self, shape: ChunkShape, config: ExecutionConfig) -> None:
        super().__init__(shape, config)
        self._automatic = config.execution_horizon == 0

    def choose_execution_horizon(self, shape: ChunkShape, requested: int) -> int:
        """s: ``min(n_action_steps, max(1, H // 2))`` unless requested otherwise; at least one row must remain."""
        if shape.horizon < 2:
            raise ConfigurationError(
                f"execution.mode {self.name}: expected chunks of at least 2 rows, got {shape.horizon}; use mode sync"
            )
        if requested >= shape.horizon:
            raise ConfigurationError(
                f"execution.execution_horizon: expected at most {shape.horizon - 1}, one row less than the chunk has, "
                f"got {requested}; use 0 for automatic"
            )
        return requested or min(shape.n_action_steps, max(1, shape.horizon // 2))

    def wants_inference(self, timeline: Timeline, newest: ActionChunk | None, delay: int) -> bool:
        """When s steps were consumed since the newest chunk's observation, or nothing is left.

        An automatic s shrinks to ``H - d`` where the delay asks for it, so that the rows last until the next chunk.
        """
        if newest is None or timeline.remaining == 0:
            return True
        wanted = self.execution_horizon
        if self._automatic:
            wanted = max(1, min(wanted, self.shape.horizon - delay))
        return timeline.step - newest.first_step >= wanted

    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """Swap at once: the chunk's rows from d on replace all that is planned."""
        timeline.replace(chunk.first_step, chunk.actions)

    def assess(self, delay: int, execution_horizon: int) -> Assessment:
        """``hold`` where the old rows run out before the new ones arrive."""
        if is_feasible(delay, execution_horizon, self.shape.horizon):
            return super().assess(delay, execution_horizon)
        return self._infeasible(delay, execution_horizon)

    def _infeasible(self, delay: int, execution_horizon: int) -> Assessment:
        horizon = self.shape.horizon
        facts = f"expected d <= s <= H - d, got d = {delay}, s = {execution_horizon}, H = {horizon} steps"
        if delay > horizon - execution_horizon:
            return Assessment(HOLD, f"{facts}: chunks end before the next one arrives and the robot waits in between")
        return self._without_margin(facts)

    def _without_margin(self, facts: str) -> Assessment:
        """The rows last this time, but will not where inferences go on taking so long."""
        return Assessment(self.name, facts)
