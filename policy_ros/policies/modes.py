# SPDX-License-Identifier: Apache-2.0
"""Ways to normalise a feature, and the two statistics that each needs."""

from __future__ import annotations

from enum import Enum


class NormalizationMode(str, Enum):
    """Spelled as in LeRobot's files."""

    IDENTITY = "IDENTITY"
    MEAN_STD = "MEAN_STD"
    MIN_MAX = "MIN_MAX"
    QUANTILES = "QUANTILES"
    QUANTILE10 = "QUANTILE10"

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics it needs: ``(mean, std)`` or ``(low, high)``; empty for IDENTITY."""
        return _STATISTICS[self]


_STATISTICS = {
    NormalizationMode.IDENTITY: (),
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}
