# SPDX-License-Identifier: Apache-2.0
"""How far what the policy predicted is from what was commanded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_ros.replay.metrics.sums import ErrorSums
from policy_ros.replay.trace import ChunkTrace

ALL_ROWS = ""
HORIZONS = ("1", "10", "H")


@dataclass(frozen=True)
class PredictionMetrics:
    """Errors of the rows of all chunks.

    Attributes:
        horizon: H; 0 without chunks.
        by_joint: sums of every joint; key :data:`ALL_ROWS` for all rows, and each of :data:`HORIZONS` for that row.
        by_row: sums of every row, over all joints.
        values: rows times joints, whether there was something to compare them with or not.
    """

    horizon: int
    by_joint: Mapping[str, ErrorSums]
    by_row: ErrorSums
    values: int

    @staticmethod
    def of(chunks: Sequence[ChunkTrace], joints: int) -> PredictionMetrics:
        """Sums over the chunks of one episode, of A = ``joints``."""
        horizon = max((len(chunk.actions) for chunk in chunks), default=0)
        errors = np.full((len(chunks), horizon, joints), np.nan)
        for row, chunk in zip(errors, chunks, strict=True):
            row[: len(chunk.actions)] = chunk.actions.astype(np.float64) - chunk.recorded
        rows = {ALL_ROWS: slice(None), "1": slice(0, 1), "10": slice(9, 10), "H": slice(max(horizon - 1, 0), horizon)}
        return PredictionMetrics(
            horizon=horizon,
            by_joint={name: ErrorSums.of(errors[:, which], axis=2) for name, which in rows.items()},
            by_row=ErrorSums.of(errors, axis=1),
            values=sum(chunk.actions.size for chunk in chunks),
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> PredictionMetrics:
        """From what ``dataclasses.asdict`` made."""
        by_joint = {name: ErrorSums.from_json(sums) for name, sums in value["by_joint"].items()}
        return PredictionMetrics(value["horizon"], by_joint, ErrorSums.from_json(value["by_row"]), value["values"])
