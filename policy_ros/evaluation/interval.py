# SPDX-License-Identifier: Apache-2.0
"""How far a success rate may be from what was counted."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper bound of a probability from ``successes`` in ``trials``, both in 0 to 1.

    Score interval of Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927),
    doi:10.1080/01621459.1927.10502953. Unlike the textbook's it holds for few trials and for all or none of them.

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 <= successes <= trials and a trial, got {successes} of {trials}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share, weight = successes / trials, z**2 / trials
    centre = (share + weight / 2.0) / (1.0 + weight)
    half = z * math.sqrt(share * (1.0 - share) / trials + weight / (4.0 * trials)) / (1.0 + weight)
    lower = 0.0 if successes == 0 else centre - half  # exact, where rounding would miss by a hair
    upper = 1.0 if successes == trials else centre + half
    return lower, upper
