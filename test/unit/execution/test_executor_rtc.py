# SPDX-License-Identifier: Apache-2.0
"""Guidance, degradation and changes of mode in the executor; each defect that was seen elsewhere has a test here."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from policy_ros.rtc import GuidanceOptions

HORIZON, EXECUTED = 16, 6


def turn(bench, consuming: int, before: int = EXECUTED) -> None:
    """Execute until the next inference begins, then infer while so many steps are consumed."""
    bench.ticks(before)
    bench.infer(consuming=consuming)


@pytest.fixture
def bench(make_bench):
    bench = make_bench("rtc", horizon=HORIZON, execution_horizon=EXECUTED)
    bench.infer()
    turn(bench, 2)
    turn(bench, 2, EXECUTED - 2)
    return bench


def test_status_tells_d_s_h_feasibility_and_guidance(bench) -> None:
    status = bench.status
    assert (status.mode, status.active_mode, status.degradation) == ("rtc", "rtc", "")
    assert (status.delay, status.delay_estimate, status.execution_horizon, status.horizon) == (2, 2, EXECUTED, HORIZON)
    assert (status.feasible, status.guidance_weight, status.chunks, status.chunks_guided) == (True, 5.0, 3, 2)


def test_the_prefix_belongs_to_the_observation_that_is_taken_with_it(bench) -> None:
    """Paired with an older observation, or shifted by the delay, it would pull the chunk to another time."""
    bench.ticks(EXECUTED - 2)
    step = bench.status.step
    expected = bench.executor._progress.timeline.window(step, HORIZON).copy()
    bench.infer()
    assert bench.observed[-1] == step
    np.testing.assert_array_equal(bench.policy.guidances[-1].prefix, expected)
    assert len(expected) == HORIZON - EXECUTED, "no padding: rows that do not exist are not there"


def test_rows_that_will_be_executed_are_within_the_guided_ones(bench) -> None:
    """A guidance window shorter than the delay would leave executed rows without guidance."""
    for consuming in (1, 5, 3, 4):
        turn(bench, consuming, max(0, EXECUTED - bench.status.delay))
        guidance = bench.policy.guidances[-1]
        assert guidance.delay <= len(guidance.prefix) == HORIZON - guidance.execution_horizon


def test_the_delay_of_a_seam_is_what_was_consumed_whatever_was_expected(bench) -> None:
    """Trimming by the estimate or by the clock would skip or repeat rows."""
    turn(bench, 5, EXECUTED - 2)
    (tick,) = bench.ticks(1)
    assert (bench.policy.guidances[-1].delay, tick.chunk.delay_steps) == (2, 5)
    assert tick.window[0, 1] == 5.0


@pytest.mark.parametrize("seed", range(10))
def test_every_executed_row_belongs_to_its_step_at_every_feasible_delay(make_bench, seed: int) -> None:
    random = np.random.default_rng(seed)
    bench = make_bench("rtc", horizon=HORIZON)
    bench.infer()
    delay, ticks = 0, []
    for _ in range(30):
        ticks += bench.ticks(HORIZON // 2 - delay)
        delay = int(random.integers(0, HORIZON // 2 + 1))
        bench.policy.during = lambda delay=delay, into=ticks: into.extend(bench.ticks(delay))
        bench.executor.run_inference_once()
    assert [tick.step for tick in ticks] == list(range(len(ticks)))
    for tick in ticks:
        number, row = tick.window[0]
        assert row == tick.step - bench.observed[int(number)]
    assert (bench.status.chunks, bench.status.chunks_guided, bench.status.holds) == (31, 30, 0)


def test_the_options_of_the_guidance_reach_the_policy(make_bench) -> None:
    options = GuidanceOptions(schedule="linear", max_weight=2.0, jacobian="identity")
    bench = make_bench("rtc", horizon=HORIZON, execution_horizon=EXECUTED, guidance=options)
    bench.infer()
    turn(bench, 1)
    assert bench.policy.guidances[-1].options == options
    assert bench.status.guidance_weight == 2.0


def test_a_delay_beyond_half_the_chunk_degrades_to_blending_then_to_holding_and_back(bench, caplog) -> None:
    caplog.set_level(logging.INFO, logger="policy_ros")
    turn(bench, 9, EXECUTED - 2)  # a spike: d = 9 of H = 16
    guided = len(bench.policy.guidances)
    bench.infer()  # at once, s = 9: the old rows (7) end before the new ones arrive (9)
    assert (bench.status.active_mode, bench.status.feasible) == ("hold", False)
    assert "d = 9, s = 9, H = 16" in bench.status.degradation
    assert len(bench.policy.guidances) == guided, "what cannot be guided all the way is not guided"
    turn(bench, 1)  # s = 6: rows are left (10) when the new ones arrive (9), but the next time they would not be
    assert bench.status.active_mode == "blend"
    for _ in range(10):  # the spike leaves the window
        turn(bench, 1, EXECUTED - 1)
    assert (bench.status.active_mode, bench.status.degradation, bench.status.feasible) == ("rtc", "", True)
    assert bench.status.delay_estimate == 1
    assert len(bench.policy.guidances) > guided
    said = [record.message for record in caplog.records if record.name.endswith("scheduling")]
    assert [text.split(" ")[0] for text in said] == ["hold", "blend", "rtc"]


def test_a_mode_that_lasts_without_margin_is_not_said_to_stand_in_for_itself(make_bench, caplog) -> None:
    caplog.set_level(logging.INFO, logger="policy_ros")
    bench = make_bench("overlap", horizon=HORIZON, execution_horizon=EXECUTED)
    bench.infer()
    turn(bench, 9)
    bench.infer()
    turn(bench, 1)
    assert bench.status.active_mode == "overlap" and "d = 9, s = 6" in bench.status.degradation
    said = [record.message.split(":")[0] for record in caplog.records if record.name.endswith("scheduling")]
    assert said == ["hold instead of overlap", "overlap without margin"]


def test_a_mode_that_comes_and_goes_is_said_now_and_then_only(bench, caplog) -> None:
    caplog.set_level(logging.INFO, logger="policy_ros")
    for consumed in (2, 1, 1):
        turn(bench, 9, EXECUTED - consumed)
        bench.infer()
        turn(bench, 1)
        for _ in range(10):
            turn(bench, 1, EXECUTED - 1)
        assert bench.status.active_mode == "rtc"
    said = [record.message.split(" ")[0] for record in caplog.records if record.name.endswith("scheduling")]
    assert len(said) == len(set(said)) > 1, said


def test_an_inference_longer_than_the_chunk_holds_and_the_late_chunk_goes_on(bench) -> None:
    bench.ticks(EXECUTED - 2)
    bench.infer(consuming=13)  # 10 rows were left
    assert bench.status.holds == 1
    assert bench.status.delay_estimate == 13, "ticks without a row count"
    (tick,) = bench.ticks(1)
    assert tick.chunk.delay_steps == 10 and tick.window[0, 1] == 10.0


def test_no_guidance_toward_a_plan_that_a_reset_made_void(bench) -> None:
    """A queue that survives a reset would pull the arm back to where it was."""
    bench.executor.reset("operator")
    before = len(bench.policy.guidances)
    bench.infer()
    assert len(bench.policy.guidances) == before
    assert bench.status.queue_depth == HORIZON


def test_a_guided_chunk_of_an_old_epoch_is_dropped(bench) -> None:
    bench.ticks(EXECUTED - 2)
    bench.policy.during = lambda: bench.executor.reset("operator") and None
    assert not bench.executor.run_inference_once()
    assert (bench.status.queue_depth, bench.status.chunks_late) == (0, 1)


@pytest.mark.parametrize("mode", ["sync", "overlap", "ensemble", "blend"])
def test_modes_change_at_a_chunk_boundary_and_no_row_is_lost(bench, mode: str) -> None:
    first = bench.status.step
    bench.executor.set_strategy(bench.strategy(mode=mode))
    assert bench.status.mode == "rtc"
    ticks = bench.ticks(EXECUTED - 2)
    bench.infer(consuming=1)
    assert bench.status.mode == mode
    ticks += bench.ticks(4)
    bench.executor.set_strategy(bench.strategy(mode="rtc"))
    bench.infer()
    ticks += bench.ticks(2)
    steps = [tick.step for tick in ticks if tick.window is not None]
    assert steps == sorted(set(steps)) and steps[0] == first


def test_a_policy_that_cannot_be_guided_is_never_asked_to(make_bench) -> None:
    """It would raise in the middle of a run."""
    bench = make_bench("rtc", horizon=HORIZON, supports_guidance=False, rtc_fallback="blend")
    bench.infer()
    turn(bench, 1, 8)
    turn(bench, 1, 8)
    assert bench.policy.guidances == []
    assert (bench.status.mode, bench.status.active_mode) == ("rtc", "blend")
    assert "cannot be guided" in bench.status.degradation
