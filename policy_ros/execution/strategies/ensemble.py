# SPDX-License-Identifier: Apache-2.0
"""Temporal ensembling: every step is the average of what all chunks say about it."""

from __future__ import annotations

import numpy as np

from policy_ros.data import ActionChunk
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.timeline import Timeline


class EnsembleStrategy(OverlapStrategy):
    """Infers as often as it can and averages all predictions of a step, ``exp(-m i)`` for the i-th, 0 the oldest.

    Source: Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware", arXiv:2304.13705,
    section IV-B. There every chunk is made at the step it is for; here it may arrive late, and joins the average from
    the step that is due on. With one chunk per step and no delay both are the same.
    """

    name = "ensemble"

    def __init__(self, shape: ChunkShape, config: ExecutionConfig) -> None:
        super().__init__(shape, config)
        self._coefficient = config.ensemble_coeff
        self._chunks: list[ActionChunk] = []  # oldest first

    def choose_execution_horizon(self, shape: ChunkShape, requested: int) -> int:
        """s: 1 unless requested otherwise."""
        return super().choose_execution_horizon(shape, requested or 1)

    def merge(self, timeline: Timeline, chunk: ActionChunk) -> None:
        """Average the chunk with those before it, for every step that is still to come."""
        now = timeline.step
        self._chunks = [old for old in self._chunks if old.end_step > now] + [chunk]
        steps = chunk.end_step - now
        total = np.zeros((steps, chunk.actions.shape[1]))
        weight, seen = np.zeros(steps), np.zeros(steps)
        for one in self._chunks:
            rows = one.actions[max(0, now - one.first_step) :][:steps]
            own = np.exp(-self._coefficient * seen[: len(rows)])
            total[: len(rows)] += own[:, None] * rows
            weight[: len(rows)] += own
            seen[: len(rows)] += 1.0
        timeline.replace(now, (total / weight[:, None]).astype(np.float32))

    def reset(self) -> None:
        """Forget all chunks."""
        self._chunks = []
