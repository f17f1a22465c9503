# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay, is_feasible
from policy_ros.execution.delay_estimation import (
    DELAY_ESTIMATORS,
    DelayEstimator,
    JacobsonKarelsDelay,
    MaxDelay,
    QuantileDelay,
    make_delay_estimator,
)


@pytest.mark.parametrize(
    ("delay", "execution_horizon", "horizon", "feasible"),
    [
        (0, 50, 50, True),
        (5, 25, 50, True),
        (25, 25, 50, True),
        (26, 25, 50, False),
        (6, 45, 50, False),
        (1, 1, 1, False),
        (6, 1, 12, True),  # inferences as fast as they can: s is d in effect
        (7, 1, 12, False),
    ],
)
def test_feasible_where_delay_fits_execution_horizon_and_the_rest(
    delay: int, execution_horizon: int, horizon: int, feasible: bool
) -> None:
    assert is_feasible(delay, execution_horizon, horizon) is feasible


def test_ticks_without_a_row_count_as_needed_delay() -> None:
    assert MeasuredDelay(consumed=4, starved=7).needed == 11


def record(estimator: DelayEstimator, delays: list[int]) -> int | None:
    for delay in delays:
        estimator.record(MeasuredDelay(delay))
    return estimator.estimate()


@pytest.mark.parametrize("name", DELAY_ESTIMATORS)
def test_nothing_is_known_before_the_first_measurement(name: str) -> None:
    estimator = make_delay_estimator(ExecutionConfig(delay_estimator=name))
    assert estimator.estimate() is None
    assert record(estimator, [3, 3, 3, 3]) >= 3


@pytest.mark.parametrize("name", DELAY_ESTIMATORS)
def test_every_estimate_comes_down_again_after_a_spike(name: str) -> None:
    """A largest delay that never decays would make the robot cautious for ever."""
    estimator = make_delay_estimator(ExecutionConfig(delay_estimator=name))
    calm = record(estimator, [3] * 30)
    assert record(estimator, [40]) > calm
    assert record(estimator, [3] * 60) == calm == 3


def test_max_is_the_largest_of_the_window() -> None:
    assert record(MaxDelay(3), [40, 2, 4, 3]) == 4


def test_quantile_lets_a_rare_spike_pass() -> None:
    assert record(QuantileDelay(10, 0.8), [3, 4, 3, 4, 3, 4, 3, 4, 3, 30]) == 4
    assert record(QuantileDelay(10, 1.0), [3, 30]) == 30


def test_jacobson_karels_adds_four_deviations_to_the_mean() -> None:
    assert record(JacobsonKarelsDelay(), [8]) == 8 + 4 * 4
    # mean 8 + 8/8, deviation 4 + (8 - 4)/4
    assert record(JacobsonKarelsDelay(), [8, 16]) == 9 + 4 * 5


@pytest.mark.parametrize("name", DELAY_ESTIMATORS)
def test_ticks_without_a_row_count_in_the_estimate(name: str) -> None:
    estimator = make_delay_estimator(ExecutionConfig(delay_estimator=name))
    for _ in range(30):
        estimator.record(MeasuredDelay(consumed=4, starved=7))
    assert estimator.estimate() == 11


def test_an_unknown_estimator_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown 'quantil', did you mean 'quantile'"):
        make_delay_estimator(ExecutionConfig(delay_estimator="quantil"))
