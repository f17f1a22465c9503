# SPDX-License-Identifier: Apache-2.0
"""Execute, stop, look, infer."""

from __future__ import annotations

from policy_ros.data import ActionChunk
from policy_ros.errors import ConfigurationError
from policy_ros.execution.strategies.base import ChunkShape, Strategy
from policy_ros.execution.timeline import Timeline


class SyncStrategy(Strategy):
    """Executes s rows, then infers while nothing is consumed: the delay is 0 by construction, the robot waits."""

    name = "sync"
    gapless = False

    def choose_execution_horizon(self, shape: ChunkShape, requested: int) -> int:
        """s: ``n_action_steps`` unless requested otherwise."""
        if requested > shape.horizon:
            raise ConfigurationError(
                f"execution.execution_horizon: expected at most the chunk's {shape.horizon} rows, got {requested}"
            )
        return requested or shape.n_action_steps

    def wants_inference(self, timeline: Timeline, newest: ActionChunk | None, delay: int) -> bool:
        """When the last row has been executed."""
        return timeline.remaining == 0

    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """Plan the first s rows."""
        timeline.replace(chunk.first_step, chunk.actions[: self.execution_horizon])
