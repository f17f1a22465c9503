# SPDX-License-Identifier: Apache-2.0
"""The judge of the swaps sees what it is to see."""

from __future__ import annotations

import numpy as np
import pytest
from swapping.judging import Periods, judge_steps

DT_S = 0.02
SPEED, ACCELERATION = np.array([1.0]), np.array([10.0])


def judged(rows, times=None, holds=()):
    steps = np.arange(len(rows)) * DT_S if times is None else times
    return judge_steps(steps, np.array(rows, dtype=float)[:, None], SPEED, ACCELERATION, DT_S, holds)


def test_what_is_within_the_limits_is_told_as_a_part_of_them():
    found = judged([0.0, 0.0, 0.004, 0.012])
    assert (found.speed, found.acceleration, found.beyond) == (pytest.approx(0.4), pytest.approx(1.0), 0)


def test_a_step_that_is_too_fast_is_found():
    assert judged([0.0, 0.03]).beyond == 1


def test_a_change_of_speed_that_is_too_large_is_found_although_the_command_before_it_was_late():
    rows, times = [0.0, 0.004, 0.016], [0.0, 0.02, 0.08]
    assert judged(rows, times).beyond == 1


@pytest.mark.parametrize("gap_s", [0.2, 0.05], ids=["a long gap", "a hold that was told"])
def test_after_a_rest_the_robot_starts_anew(gap_s):
    rows, times = [0.0, 0.004, 0.012, 0.012, 0.012], [0.0, 0.02, 0.04, 0.04 + gap_s, 0.06 + gap_s]
    assert judged(rows, times, [(0.0, 0), (0.05, 1), (0.3, 1)]).beyond == 0


def test_a_hold_excuses_no_command_that_came_in_time():
    assert judged([0.0, 0.0, 0.008], holds=[(0.0, 0), (0.01, 1), (0.1, 1)]).beyond == 1


def test_periods_are_those_that_end_within_the_spans():
    times = [0.0, 0.02, 0.06, 0.08, 0.10]
    found = Periods.of(times, [(0.05, 0.09)], DT_S)
    assert (found.count, found.longest, found.missed) == (2, pytest.approx(2.0), 1)
    assert Periods.of(times, [], DT_S).count == 0
