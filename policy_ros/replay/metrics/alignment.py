# SPDX-License-Identifier: Apache-2.0
"""Whether what was predicted fits the recording better at another time, or as another joint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_ros.replay.metrics.grid import FloatArray, TickGrid
from policy_ros.replay.metrics.rounding import floats, integers

MAX_LAG_S = 1.5


def max_lag_steps(dt_s: float) -> int:
    """Largest shift that is tried [steps]."""
    return round(MAX_LAG_S / dt_s)


@dataclass(frozen=True)
class AlignmentMetrics:
    """Sums of absolute errors of the newest predictions, compared with what they do not belong to.

    Attributes:
        lag_absolute: over all joints, where the recording is taken k steps earlier, for k = -L to L.
        lag_count: of the values in each.
        cross_absolute: A * A values; number ``j * A + k`` is that of joint j's prediction and joint k's recording.
        cross_count: A values, of the moments at which joint k was recorded.
    """

    lag_absolute: tuple[float, ...]
    lag_count: tuple[int, ...]
    cross_absolute: tuple[float, ...]
    cross_count: tuple[int, ...]

    @staticmethod
    def of(grid: TickGrid, dt_s: float) -> AlignmentMetrics:
        """Of one episode."""
        most = max_lag_steps(dt_s)
        lags = [_shifted(grid, lag) for lag in range(-most, most + 1)]
        known = np.isfinite(grid.predicted).all(axis=1)
        predicted, recorded = grid.predicted[known], grid.recorded[known]
        cross = [np.nansum(np.abs(column[:, None] - recorded), axis=0) for column in predicted.T]
        return AlignmentMetrics(
            lag_absolute=floats([total for total, _ in lags]),
            lag_count=integers([count for _, count in lags]),
            cross_absolute=floats(np.array(cross)),
            cross_count=integers(np.isfinite(recorded).sum(axis=0)),
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> AlignmentMetrics:
        """From what ``dataclasses.asdict`` made."""
        return AlignmentMetrics(
            tuple(value["lag_absolute"]),
            tuple(value["lag_count"]),
            tuple(value["cross_absolute"]),
            tuple(value["cross_count"]),
        )


def _shifted(grid: TickGrid, lag: int) -> tuple[float, int]:
    """Sum and number of absolute errors against what was commanded ``lag`` steps earlier."""
    size = len(grid.predicted)
    if abs(lag) >= size:
        return 0.0, 0
    later, earlier = slice(max(lag, 0), size + min(lag, 0)), slice(max(-lag, 0), size - max(lag, 0))
    errors: FloatArray = np.abs(grid.predicted[later] - grid.recorded[earlier])
    return float(np.nansum(errors)), int(np.isfinite(errors).sum())
