# SPDX-License-Identifier: Apache-2.0
"""Planted faults: a lag between policy and recording, joints in the wrong order."""

from __future__ import annotations

import numpy as np
import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.metrics.order import suspected_order

NAMES = ("a", "b", "c", "d")


def summary_of(**options):
    return summarize([measure(trace) for trace in make_traces(4, **options)])


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("delay", [0, 4])
def test_one_second_of_lag_is_seen(noise: float, delay: int):
    values = summary_of(lag_s=1.0, noise=noise, delay=delay).values()
    assert values["lag"].value == pytest.approx(1.0)
    assert (values["lag"].low, values["lag"].high) == pytest.approx((1.0, 1.0), abs=0.05)
    assert values["lag_gain"].low > 0.8
    assert values["lag"].unit == "s"


def test_a_policy_ahead_of_the_recording_has_a_negative_lag():
    assert summary_of(lag_s=-0.5).values()["lag"].value == pytest.approx(-0.5)


def test_a_policy_without_lag_gains_nothing_by_shifting():
    values = summary_of().values()
    assert values["lag"].value == 0.0
    assert values["lag_gain"].value == 0.0
    assert summary_of(noise=0.05).values()["lag_gain"].value < 0.1


def test_of_shifts_that_fit_equally_the_smallest_counts():
    trace = make_trace(ticks=200)
    for values in (trace.ticks.recorded, *(chunk.recorded for chunk in trace.chunks)):
        values[:] = 1.0
    for chunk in trace.chunks:
        chunk.actions[:] = 1.5
    values = summarize([measure(trace)]).values()
    assert values["lag"].value == 0.0
    assert values["lag_gain"].value == 0.0


def test_the_curve_over_lags_is_worked_out_by_hand():
    """A ramp of 1 rad/s, predicted with an offset: shifted by k it is off by offset + k dt."""
    trace = make_trace(joints=1, ticks=300)
    ticks = np.arange(len(trace.ticks.recorded))
    trace.ticks.recorded[:, 0] = trace.dt_s * ticks
    for number, chunk in enumerate(trace.chunks):
        chunk.actions[:, 0] = trace.dt_s * (10 * number + np.arange(len(chunk.actions))) + 0.1
    summary = summarize([measure(trace)])
    by_lag = dict(zip(summary.error_by_lag.lag_s, summary.error_by_lag.mae, strict=True))
    assert by_lag[0.0] == pytest.approx(0.1, rel=1e-4)
    assert by_lag[0.2] == pytest.approx(0.3, rel=1e-4)
    assert by_lag[-0.1] == pytest.approx(0.0, abs=1e-6)
    assert summary.values()["lag"].value == pytest.approx(-0.1)


def test_shifts_with_too_little_overlap_are_not_tried():
    summary = summarize([measure(make_trace(ticks=60))])
    by_lag = dict(zip(summary.error_by_lag.lag_s, summary.error_by_lag.mae, strict=True))
    assert by_lag[-1.0] is None
    assert by_lag[0.5] is not None


def test_two_joints_in_each_others_place_are_named():
    summary = summary_of(swap=(0, 2, 1), noise=0.05)
    (suspected,) = summary.suspected_joint_order
    assert suspected.predicted == ("joint_2", "joint_3")
    assert suspected.fits == ("joint_3", "joint_2")
    assert suspected.gain > 0.5
    assert summary.values()["joint_order_gain"].value == suspected.gain
    assert summary.values()["mae.joint_2"].value > 5.0 * summary.values()["mae.joint_1"].value


def test_three_joints_in_a_circle_are_named():
    (suspected,) = summary_of(swap=(1, 2, 0), noise=0.05).suspected_joint_order
    assert suspected.fits == ("joint_2", "joint_3", "joint_1")


@pytest.mark.parametrize("options", [{}, {"noise": 0.5}, {"error": (0.3, -0.3, 0.3)}, {"lag_s": 1.0}])
def test_a_policy_that_is_merely_bad_is_not_suspected(options):
    summary = summary_of(**options)
    assert summary.suspected_joint_order == ()
    assert summary.values()["joint_order_gain"].value == 0.0


def test_gain_of_an_exchange_is_worked_out_by_hand():
    errors = np.array(
        [
            [4.0, 1.0, 9.0, 9.0],
            [2.0, 6.0, 9.0, 9.0],
            [9.0, 9.0, 0.5, 9.0],
            [9.0, 9.0, 0.6, 0.7],  # points at c, which points at itself: no circle
        ]
    )
    (found,) = suspected_order(errors, NAMES)
    assert (found.predicted, found.fits) == (("a", "b"), ("b", "a"))
    assert found.gain == pytest.approx(1.0 - 3.0 / 10.0)


def test_an_exchange_that_would_hardly_help_is_not_suspected():
    errors = np.array([[1.0, 0.8], [0.8, 1.0]])
    assert suspected_order(errors, NAMES[:2]) == []


def test_a_joint_that_was_never_recorded_is_no_candidate():
    errors = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    assert suspected_order(errors, NAMES[:2]) == []


def test_joints_that_fit_equally_well_stay_where_they_are():
    assert suspected_order(np.zeros((3, 3)), NAMES[:3]) == []
