# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are written: few digits, always finite, the same bytes every time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT_DIGITS = 6


def rounded(value: float, digits: int = SIGNIFICANT_DIGITS) -> float:
    """To so many significant digits; the result is what a reader of its decimal notation gets back."""
    return float(f"{value:.{digits}g}") + 0.0  # no negative zero


def rounded_or_none(value: float) -> float | None:
    """Rounded; None for what is not finite."""
    return rounded(value) if math.isfinite(value) else None


def floats(values: NDArray[Any] | Iterable[float]) -> tuple[float, ...]:
    """Every value rounded, in order."""
    return tuple(rounded(value) for value in np.asarray(values, dtype=np.float64).ravel().tolist())


def integers(values: NDArray[Any] | Iterable[int]) -> tuple[int, ...]:
    """Plain integers, in order."""
    return tuple(int(value) for value in np.asarray(values).ravel().tolist())
