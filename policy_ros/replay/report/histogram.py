# SPDX-License-Identifier: Apache-2.0
"""Equal bins for values that were counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_BINS = 80


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of one width.

    Attributes:
        centres: of the bins, ascending.
        counts: in each.
        width: of a bin.
    """

    centres: tuple[float, ...]
    counts: tuple[int, ...]
    width: float


def histogram(values: Sequence[float], counts: Sequence[int], *, at_least: float = 0.0) -> Histogram:
    """Bins of 1, 2 or 5 times a power of ten, about ``MOST_BINS`` at most, with centres at multiples of the width.

    Args:
        values: finite; at least one.
        counts: how often each occurred.
        at_least: the bins are not narrower: values were rounded to multiples of it.
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = float(array.min()), float(array.max())
    largest = max(abs(low), abs(high))
    # Nothing is known below the third digit of the values: narrower bins would be empty in turns.
    digits = 10.0 ** (math.floor(math.log10(largest)) - 2) if largest > 0.0 else 1.0
    width = _round_up(max((high - low) / MOST_BINS, digits, at_least))
    indices = np.round(array / width).astype(np.int64)
    first = int(indices.min())
    filled = np.bincount(indices - first, weights=np.asarray(counts, dtype=np.float64))
    centres = tuple(float(index) * width for index in range(first, first + len(filled)))
    return Histogram(centres, tuple(int(count) for count in filled), width)


def _round_up(width: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= width * (1.0 - 1e-9))
