# SPDX-License-Identifier: Apache-2.0
"""Sums that means are made of; those of several episodes add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.metrics.rounding import floats, integers


@dataclass(frozen=True)
class ErrorSums:
    """Of differences, each along one axis: of every joint, or of every row of a chunk.

    Attributes:
        absolute: sum of absolute differences.
        squared: sum of their squares.
        count: how many there were; those with NaN are none.
    """

    absolute: tuple[float, ...]
    squared: tuple[float, ...]
    count: tuple[int, ...]

    @staticmethod
    def of(differences: NDArray[np.float64], axis: int) -> ErrorSums:
        """Sums over every axis but ``axis``."""
        others = tuple(each for each in range(differences.ndim) if each != axis % differences.ndim)
        known = np.isfinite(differences)
        kept = np.where(known, differences, 0.0)
        return ErrorSums(
            floats(np.abs(kept).sum(axis=others)), floats((kept**2).sum(axis=others)), integers(known.sum(axis=others))
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ErrorSums:
        """From what ``dataclasses.asdict`` made."""
        return ErrorSums(tuple(value["absolute"]), tuple(value["squared"]), tuple(value["count"]))
