# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.execution.delay import DelayWindow, MeasuredDelay, is_feasible


@pytest.mark.parametrize(
    ("delay", "execution_horizon", "horizon", "feasible"),
    [
        (0, 50, 50, True),
        (5, 25, 50, True),
        (25, 25, 50, True),
        (26, 25, 50, False),
        (6, 45, 50, False),
        (1, 1, 1, False),
    ],
)
def test_feasible_where_delay_fits_execution_horizon_and_the_rest(
    delay: int, execution_horizon: int, horizon: int, feasible: bool
) -> None:
    assert is_feasible(delay, execution_horizon, horizon) is feasible


def test_window_keeps_the_newest_and_forgets_a_spike() -> None:
    window = DelayWindow(capacity=3)
    for consumed in (40, 2, 3, 4):
        window.record(MeasuredDelay(consumed))
    assert [delay.consumed for delay in window.all] == [2, 3, 4]
    assert window.newest.consumed == 4


def test_no_delay_before_the_first_measurement() -> None:
    window = DelayWindow()
    assert window.newest == MeasuredDelay(0)
    window.record(MeasuredDelay(3))
    window.clear()
    assert window.newest == MeasuredDelay(0)


def test_ticks_without_a_row_count_as_needed_delay() -> None:
    assert MeasuredDelay(consumed=4, starved=7).needed == 11
