# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.evaluation.interval import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "bounds"),
    [  # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (29, 29, (0.8830, 1.0)),
    ],
)
def test_bounds_are_those_of_the_literature(successes: int, trials: int, bounds: tuple[float, float]):
    assert wilson_interval(successes, trials) == pytest.approx(bounds, abs=6e-5)


@pytest.mark.parametrize(("rate", "trials"), [(0.5, 20), (0.9, 100), (0.98, 50)])
def test_the_interval_holds_the_true_rate_about_as_often_as_it_says(rate: float, trials: int):
    counts = np.random.default_rng(0).binomial(trials, rate, 4000)
    bounds = {count: wilson_interval(int(count), trials) for count in set(counts.tolist())}
    held = np.mean([bounds[count][0] <= rate <= bounds[count][1] for count in counts.tolist()])
    assert 0.92 <= held <= 0.985


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_cannot_be_are_refused(successes: int, trials: int):
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
        wilson_interval(successes, trials)
