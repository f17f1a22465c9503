# SPDX-License-Identifier: Apache-2.0
"""Seams, accelerations and jerks, against cases worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.trace import NO_CHUNK

NAN = np.nan
DT = 0.1


def values_of(*traces):
    return summarize([measure(trace) for trace in traces]).values()


def with_commands(commands, chunks=None, recorded=None):
    """A trace that does exactly this, at 10 Hz; ``commands`` is ``(N, A)``."""
    commands = np.asarray(commands, dtype=np.float64)
    count, joints = commands.shape
    trace = make_trace(joints=joints, ticks=count, dt_s=DT)
    ticks = dataclasses.replace(
        trace.ticks,
        commands=commands,
        recorded=np.full_like(commands, NAN) if recorded is None else np.asarray(recorded, dtype=np.float64),
        chunks=np.zeros(count, np.int64) if chunks is None else np.asarray(chunks),
    )
    return dataclasses.replace(trace, ticks=ticks)


def test_a_seam_is_the_step_of_the_command_where_the_chunk_changes():
    values = values_of(with_commands([[0.0, 0.0], [5.0, 0.0], [5.1, -0.3], [5.2, -0.3]], chunks=[0, 0, 1, 1]))
    assert values["seam_jump.max"].value == pytest.approx(0.3)
    assert values["seam_jump.p50"].count == 1, "the step of 5 is within a chunk"
    assert values["seam_jump.max.joint_1"].value == pytest.approx(0.1)
    assert values["seam_jump.max.joint_2"].value == pytest.approx(0.3)


def test_a_command_after_a_gap_is_no_seam():
    values = values_of(with_commands([[0.0], [NAN], [5.0], [5.0]], chunks=[0, NO_CHUNK, 1, 1]))
    assert values["seam_jump.max"].value is None
    assert values["seam_jump.p99"].count == 0
    braking = values_of(with_commands([[0.0], [1.0], [5.0]], chunks=[0, NO_CHUNK, 1]))
    assert braking["seam_jump.max"].value is None, "rows that brake belong to no chunk"


def test_percentiles_of_seams_are_those_of_all_seams_together():
    steps = np.arange(1, 101) / 100.0  # one seam at every tick
    commands = np.concatenate([[0.0], np.cumsum(steps)])[:, None]
    one = with_commands(commands[:51], chunks=np.arange(51))
    other = with_commands(commands[50:], chunks=np.arange(51))
    other = dataclasses.replace(other, episode=dataclasses.replace(other.episode, index=1))
    values = values_of(one, other)
    assert values["seam_jump.p50"].value == pytest.approx(0.5)
    assert values["seam_jump.p99"].value == pytest.approx(0.99)
    assert values["seam_jump.max"].value == pytest.approx(1.0)
    assert values["seam_jump.p50"].count == 100


def test_planted_jumps_at_seams_are_seen():
    smooth, jumping = values_of(make_trace()), values_of(make_trace(seam=0.2))
    assert jumping["seam_jump.p50"].value == pytest.approx(0.2, abs=0.02)
    assert jumping["seam_jump.p50"].value > 5.0 * smooth["seam_jump.p50"].value
    assert jumping["acceleration.peak"].value > 50.0 * smooth["acceleration.peak"].value


def test_acceleration_and_jerk_are_finite_differences():
    values = values_of(with_commands([[0.0, 0.0], [0.0, 0.01], [0.0, 0.02], [0.06, 0.03]]))
    assert values["acceleration.peak"].value == pytest.approx(6.0)  # 0.06 / 0.1²
    assert values["acceleration.peak.joint_2"].value == pytest.approx(0.0, abs=1e-9)
    assert values["jerk.peak"].value == pytest.approx(60.0)
    assert values["jerk.peak"].unit == "rad/s³, m/s³"


def test_nothing_is_differentiated_across_a_gap():
    values = values_of(with_commands([[0.0], [0.0], [0.0], [NAN], [9.0], [9.0], [9.0]]))
    assert values["acceleration.peak"].value == 0.0
    assert values["jerk.peak"].value is None, "no four commands follow each other"


def test_nothing_is_differentiated_across_ticks_that_are_missing():
    trace = with_commands([[0.0], [0.0], [0.0], [9.0], [9.0], [9.0]], chunks=[0, 0, 0, 1, 1, 1])
    times = trace.ticks.times_ns + np.array([0, 0, 0, 1, 1, 1]) * 1_000_000_000
    values = values_of(dataclasses.replace(trace, ticks=dataclasses.replace(trace.ticks, times_ns=times)))
    assert values["acceleration.peak"].value == 0.0
    assert values["seam_jump.max"].value is None


def test_recorded_peaks_stand_beside_those_of_the_policy():
    recorded = [[0.0], [0.0], [0.02], [0.04]]
    values = values_of(with_commands([[0.0], [0.0], [0.06], [0.0]], recorded=recorded))
    assert values["recorded_acceleration.peak"].value == pytest.approx(2.0)
    assert values["acceleration.peak"].value == pytest.approx(12.0)


def test_the_largest_peak_and_the_mean_of_peaks():
    traces = make_traces(2, ticks=100)
    peaks = [values_of(trace)["acceleration.peak"].value for trace in traces]
    values = values_of(*traces)
    assert values["acceleration.peak"].value == max(peaks)
    assert values["acceleration.mean_peak"].value == pytest.approx(np.mean(peaks), rel=1e-5)
    assert values["acceleration.peak"].low is None, "no resample can exceed a maximum"
    assert values["acceleration.mean_peak"].low == pytest.approx(min(peaks), rel=1e-5)
