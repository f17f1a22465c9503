# SPDX-License-Identifier: Apache-2.0
"""Holds, gate, chunks, delays and coverage, against cases worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
from support.replay_traces import make_trace, make_traces

from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.metrics.running import REASONS
from policy_ros.replay.trace import HoldTrace

SECOND_NS = 1_000_000_000


def summary_of(*traces):
    return summarize([measure(trace) for trace in traces])


def values_of(*traces):
    return {name: value.value for name, value in summary_of(*traces).values().items()}


def test_holds_count_by_cause_and_last_as_long_as_they_did():
    trace = make_trace(ticks=500)  # 10 s
    begin = trace.episode.start_ns
    holds = (
        HoldTrace(begin, begin + SECOND_NS // 2, "STARVED", ""),
        HoldTrace(begin + SECOND_NS, begin + 2 * SECOND_NS, "STARVED", ""),
        HoldTrace(begin + 8 * SECOND_NS, trace.episode.stop_ns, "JUMP", ""),
    )
    values = values_of(dataclasses.replace(trace, holds=holds))
    assert (values["holds"], values["holds.STARVED"], values["holds.JUMP"], values["holds.LIMIT"]) == (3, 2, 1, 0)
    assert values["hold_time"] == pytest.approx(3.5)
    assert values["hold_time.STARVED"] == pytest.approx(1.5)
    assert values["hold_share"] == pytest.approx(0.35)
    assert values["holds_per_minute"] == pytest.approx(18.0)


def test_the_cause_of_a_hold_must_be_one():
    trace = make_trace(ticks=50)
    holds = (HoldTrace(trace.episode.start_ns, trace.episode.stop_ns, "TIRED", ""),)
    with pytest.raises(ValueError, match="STARVED.*got 'TIRED'"):
        measure(dataclasses.replace(trace, holds=holds))


def test_what_the_gate_changed_counts_by_joint():
    values = values_of(make_trace(ticks=100, clamped=((3, 0), (3, 1), (7, 1))))
    assert values["gate.clamped"] == 2
    assert values["gate.clamped.joint_1"] == 1
    assert values["gate.clamped.joint_2"] == 2
    assert values["gate.clamped.joint_3"] == 0
    assert values["gate.clamped_share"] == pytest.approx(0.02)


def test_counters_of_the_execution_are_passed_on():
    trace = make_trace(ticks=100)
    told = {"chunks_late": 2, "chunks_rejected": 3, "inference_errors": 4, "gate_rejected": 5, "resets": 6}
    trace = dataclasses.replace(trace, counters={**trace.counters, **told}, jumps=7, not_ready={"a": 2, "b": 6})
    other = make_trace(index=1, ticks=100)
    summary = summary_of(trace, dataclasses.replace(other, not_ready={"b": 1}))
    values = {name: value.value for name, value in summary.values().items()}
    assert [values[name] for name in ("chunks.late", "chunks.rejected", "inference_errors")] == [2, 3, 4]
    assert [values[name] for name in ("gate.rejected", "resets", "jumps", "not_ready")] == [5, 6, 7, 9]
    assert summary.not_ready == {"a": 2, "b": 7}


def test_deadlines_missed():
    assert values_of(make_trace(starved=(50, 51, 90)))["deadline_misses"] == 3


def test_delays_are_those_of_chunks_that_replace_another():
    summary = summary_of(make_trace(ticks=200, delay=3, hold=(100, 120)), make_trace(index=1, ticks=200, delay=5))
    values = summary.values()
    assert set(summary.delays) == {3, 5}, "0, of the first chunk of an epoch, is no delay"
    count = sum(summary.delays.values())
    assert values["delay.mean"].count == count
    assert values["delay.mean"].value == pytest.approx((3 * summary.delays[3] + 5 * summary.delays[5]) / count)
    assert values["delay.max"].value == 5
    assert values["delay.p50"].unit == "steps"


def test_latency_age_and_skew_have_percentiles():
    values = values_of(make_trace(delay=6, age_s=0.031), make_trace(index=1, delay=2, skew_s=0.0123))
    assert values["latency.max"] == pytest.approx(0.12)
    assert values["latency.p99"] == pytest.approx(0.12)
    assert values["latency.p50"] in (0.04, 0.12)
    assert values["observation_age.max"] == pytest.approx(0.031)
    assert values["skew.max"] == pytest.approx(0.0123)


def test_chunks_are_told_apart():
    trace = make_trace(ticks=100, mode="rtc", guided=True, degraded={4: "too late", 5: "too late"}, delay=2)
    summary = summary_of(trace)
    values = {name: value.value for name, value in summary.values().items()}
    assert values["chunks"] == len(trace.chunks) == 10
    assert values["chunks.guided"] == 7
    assert values["chunks.degraded"] == 2
    assert values["chunks.executed"] == sum(chunk.took_over_ns is not None for chunk in trace.chunks)
    assert summary.modes == {"overlap": 2, "rtc": 8}
    assert summary.degradations == {"too late": 2}


def test_coverage_and_its_gaps_add_up_to_the_episode():
    trace = make_trace(ticks=200, delay=4, ready_tick=20, hold=(100, 150), starved=(60,))
    values = values_of(trace)
    assert values["without_commands.NOT_READY"] == pytest.approx(0.1)
    assert values["without_commands.HOLDING"] == pytest.approx(0.25)
    assert values["without_commands.WAITING"] == pytest.approx(8 / 200)
    assert values["without_commands.STARVED"] == pytest.approx(1 / 200)
    assert values["coverage"] == pytest.approx(1.0 - 0.1 - 0.25 - 9 / 200)
    assert values["coverage"] + sum(values[f"without_commands.{reason}"] for reason in REASONS) == pytest.approx(1.0)
    assert values["duration"] == pytest.approx(4.0)


def test_time_about_which_no_chunk_says_anything_is_not_predicted():
    values = values_of(make_trace(ticks=100, horizon=6, execution_horizon=10))
    assert values["predicted_coverage"] == pytest.approx(0.6)


def test_coverage_is_pooled_over_time():
    short, long = make_trace(ticks=100, ready_tick=50), make_trace(index=1, ticks=300)
    assert values_of(short, long)["coverage"] == pytest.approx(350 / 400)


def test_all_modes_and_counts_are_numbers_of_all_episodes():
    assert values_of(*make_traces(3, ticks=100))["chunks"] == 30
