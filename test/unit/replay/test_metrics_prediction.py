# SPDX-License-Identifier: Apache-2.0
"""Errors of what was predicted and of what was executed, against cases worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.replay.metrics import Summary, measure, summarize

NAN = np.nan


def values_of(*traces) -> dict[str, float | None]:
    return {name: value.value for name, value in summarize([measure(trace) for trace in traces]).values().items()}


def with_errors(*errors):
    """A trace of two joints whose chunks have exactly these ``(H, 2)`` errors; NaN: nothing recorded."""
    trace = make_trace(joints=2, ticks=50)
    recorded = [np.where(np.isfinite(error), 0.0, NAN) for error in errors]
    chunks = tuple(
        dataclasses.replace(trace.chunks[0], sequence=i, actions=np.nan_to_num(error).astype(np.float32), recorded=rows)
        for i, (error, rows) in enumerate(zip(errors, recorded, strict=True))
    )
    return dataclasses.replace(trace, chunks=chunks)


def test_mae_and_rmse_of_two_rows_are_those_worked_out_by_hand():
    found = values_of(with_errors(np.array([[1.0, -2.0], [3.0, 0.0]])))
    assert found["mae"] == pytest.approx(1.5)
    assert found["mae.joint_1"] == pytest.approx(2.0)
    assert found["mae.joint_2"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(np.sqrt(14.0 / 4.0), rel=1e-5)
    assert found["rmse.joint_1"] == pytest.approx(np.sqrt(5.0), rel=1e-5)
    assert found["mae@1"] == pytest.approx(1.5)
    assert found["mae@H"] == pytest.approx(1.5)
    assert found["mae@H.joint_2"] == 0.0
    assert found["mae@10"] is None, "a chunk of two rows has no tenth"


def test_the_tenth_row_is_the_one_after_nine():
    errors = np.zeros((12, 2))
    errors[9] = (0.5, 0.25)
    found = values_of(with_errors(errors))
    assert found["mae@10"] == pytest.approx(0.375)
    assert found["mae@10.joint_1"] == pytest.approx(0.5)
    assert found["mae@1"] == found["mae@H"] == 0.0


def test_values_that_nobody_commanded_do_not_count_and_are_told():
    summary = summarize([measure(with_errors(np.array([[1.0, NAN], [NAN, NAN]]), np.array([[3.0, 5.0], [NAN, NAN]])))])
    found = summary.values()
    assert found["mae"].value == pytest.approx(3.0)
    assert found["mae"].count == 3
    assert found["mae.joint_2"].value == pytest.approx(5.0)
    assert found["compared"].value == pytest.approx(3 / 8)
    assert found["mae@H"].value is None
    assert found["mae@H"].count == 0


def test_the_curve_over_rows_has_the_error_of_each():
    summary = summarize([measure(with_errors(np.array([[1.0, 1.0], [2.0, 4.0], [NAN, NAN]])))])
    assert summary.error_by_row.mae == (1.0, 3.0, None)
    assert summary.error_by_row.rmse == (1.0, pytest.approx(np.sqrt(10.0), rel=1e-5), None)
    assert summary.error_by_row.count == (2, 2, 0)
    assert summary.horizon == 3


def test_an_error_of_one_joint_is_seen_on_this_joint():
    found = values_of(*make_traces(3, error=(0.0, 0.02, 0.0)))
    assert found["mae.joint_2"] == pytest.approx(0.02, rel=1e-4)
    assert found["mae.joint_1"] < 1e-6
    assert found["mae"] == pytest.approx(0.02 / 3.0, rel=1e-3)


def test_executed_commands_are_compared_with_what_was_commanded_for_the_same_moment():
    trace = make_trace(ticks=100, error=0.03)
    found = values_of(trace)
    assert found["executed_mae"] == pytest.approx(0.03, rel=1e-4)
    assert found["executed_rmse.joint_1"] == pytest.approx(0.03, rel=1e-4)
    late = values_of(make_trace(ticks=100, delay=5))
    recorded = trace.ticks.recorded
    shifted = np.abs(recorded[5:20] - recorded[0:15]).sum() / (94 * 3)  # the first chunk runs five ticks late
    assert late["executed_mae"] == pytest.approx(shifted, rel=1e-4)


def test_a_recording_without_commands_has_no_errors_but_all_the_rest():
    summary = summarize([measure(make_trace(has_commands=False))])
    found = summary.values()
    for name in ("mae", "rmse", "mae@1", "mae.joint_1", "executed_mae", "lag", "lag_gain", "joint_order_gain"):
        assert found[name].value is None, name
    assert found["compared"].value == 0.0
    assert found["coverage"].value == 1.0
    assert found["acceleration.peak"].value > 0.0
    assert found["recorded_acceleration.peak"].value is None


def test_an_episode_in_which_nothing_was_inferred_is_measured_too():
    trace = make_trace(ticks=20)
    nothing = {name: getattr(trace.ticks, name)[:0] for name in vars(trace.ticks)}
    empty = dataclasses.replace(trace, chunks=(), ticks=type(trace.ticks)(**nothing))
    found = values_of(empty)
    assert found["mae"] is None
    assert found["coverage"] == 0.0
    assert found["without_commands.NOT_READY"] == 1.0
    assert found["chunks"] == 0


def test_shuffled_predictions_are_clearly_worse_than_good_ones():
    good, bad = (summarize([measure(trace) for trace in make_traces(4, noise=noise)]) for noise in (0.01, 0.3))
    assert isinstance(good, Summary)
    assert good.values()["mae"].high < bad.values()["mae"].low
