# SPDX-License-Identifier: Apache-2.0
"""How far a metric might be off, had other episodes been recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.metrics.rounding import rounded

FloatArray = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95


def resamples(episodes: int, seed: int) -> FloatArray:
    """``(R, E)``: how often each of E episodes is drawn, in each of :data:`RESAMPLES` draws of E with replacement.

    Episodes are drawn whole, since what happens within one is not independent. Whatever is a function of sums over
    episodes then has the bootstrap distribution ``function(resamples @ sums)``.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13 (percentile interval).
    """
    drawn = np.random.default_rng(seed).multinomial(episodes, np.full(episodes, 1.0 / episodes), size=RESAMPLES)
    return drawn.astype(np.float64)


def percentile_interval(estimates: FloatArray) -> tuple[float, float] | None:
    """The middle 95 % of ``(R,)`` bootstrapped estimates; NaN ones, of draws without any value, do not count.

    None where all are NaN.
    """
    known = estimates[np.isfinite(estimates)]
    if not len(known):
        return None
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(known, (tail, 100.0 - tail))
    return rounded(float(low)), rounded(float(high))
