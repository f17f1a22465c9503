# SPDX-License-Identifier: Apache-2.0
"""What ends in a hold, what is commanded then, and what ends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policy_ros.data import StreamHealth
from policy_ros.execution import ExecutionState, GateLimits, HoldCause

HOLDING, RUNNING, STARVED, WAITING = (
    ExecutionState.HOLDING,
    ExecutionState.RUNNING,
    ExecutionState.STARVED,
    ExecutionState.WAITING,
)


def running(bench, steps: int = 3):
    bench.infer()
    bench.ticks(steps)
    return bench


def assert_silent(bench, ticks: int = 5) -> None:
    for tick in bench.ticks(ticks):
        assert (tick.state, tick.window, tick.hold) == (HOLDING, None, None)


def test_fault_01_a_stalled_camera_lets_the_tail_run_then_holds_once(make_bench, stale, expired) -> None:
    bench = running(make_bench(execution_horizon=4))
    bench.health, bench.not_ready = stale, "camera/top: 0.3 s old"
    bench.tick()
    assert not bench.infer()  # no new inference
    assert bench.tick().state is RUNNING  # the committed tail
    bench.health = expired
    entered = bench.tick()
    assert (entered.state, entered.window) == (HOLDING, None)
    np.testing.assert_array_equal(entered.hold, [0, 4])  # the last commanded row
    assert_silent(bench)
    assert (bench.status.hold_cause, bench.status.holds) == (HoldCause.STREAM_EXPIRED, 1)
    assert bench.status.hold_detail == "camera/top 0.6 s old"


def test_fault_01_recovery_needs_fresh_frames_and_a_fresh_inference(make_bench, fresh, stale, expired) -> None:
    bench = running(make_bench())
    epoch = bench.status.epoch
    bench.health = expired
    bench.tick()
    assert not bench.infer()
    bench.health = stale
    assert_silent(bench)
    bench.health = fresh
    assert bench.tick().state is WAITING
    assert bench.status.epoch == epoch + 1
    assert bench.infer()
    tick = bench.tick()
    assert (tick.state, tick.step, int(tick.window[0, 0])) == (RUNNING, 0, 1)


def test_fault_03_an_expired_joint_state_holds_and_is_named(make_bench) -> None:
    bench = running(make_bench())
    ages = {"joint_states": 0.2, "camera/top": 0.0}
    bench.health = StreamHealth(ages_s=ages, stale=("joint_states",), expired=("joint_states",))
    assert bench.tick().hold is not None
    assert bench.status.hold_detail == "joint_states 0.2 s old"


def test_a_chunk_computed_before_a_stream_hold_is_never_executed(make_bench, fresh, expired) -> None:
    bench = running(make_bench(execution_horizon=2))
    bench.health = expired
    assert not bench.infer(consuming=1)
    bench.health = fresh
    assert [t.state for t in bench.ticks(3)] == [WAITING] * 3
    assert bench.status.chunks_late == 1


def test_a_hold_commands_nothing_when_nothing_was_commanded(make_bench, expired) -> None:
    bench = make_bench()
    bench.health = expired
    assert [(t.state, t.hold) for t in bench.ticks(2)] == [(HOLDING, None)] * 2
    assert (bench.status.holds, bench.status.holds_after_first_chunk) == (1, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_06_a_chunk_that_is_not_finite_is_discarded_as_a_whole(make_bench, bad: float) -> None:
    bench = running(make_bench(execution_horizon=2))
    chunk = np.zeros((8, 2), np.float32)
    chunk[7, 1] = bad
    bench.policy.script = [chunk]
    assert not bench.infer()
    assert (bench.status.chunks_rejected, bench.status.chunks) == (1, 1)
    assert bench.tick().window[0, 0] == 0.0  # the tail of the good chunk goes on
    assert bench.infer()


def test_fault_06_several_in_a_row_hold_until_reset(make_bench) -> None:
    bench = running(make_bench(execution_horizon=2, max_consecutive_errors=3))
    bench.policy.script = [np.full((8, 2), np.nan, np.float32)] * 3
    for _ in range(3):
        assert not bench.infer()
    assert bench.tick().hold is not None
    assert_silent(bench)
    assert bench.status.hold_cause is HoldCause.NON_FINITE_ACTION
    assert bench.status.hold_detail == "3 times in a row, last: expected finite actions, got nan for shoulder in row 0"
    assert not bench.infer()
    bench.executor.reset("operator")
    assert bench.infer()
    assert bench.tick().state is RUNNING


def test_fault_06_failures_that_are_not_in_a_row_do_not_hold(make_bench) -> None:
    bench = running(make_bench("overlap", execution_horizon=1, max_consecutive_errors=2))
    for _ in range(5):
        bench.policy.script = [np.full((8, 2), np.inf, np.float32)]
        assert not bench.infer()
        assert bench.infer()
        assert bench.tick().state is RUNNING
    assert (bench.status.chunks_rejected, bench.status.holds) == (5, 0)


@pytest.mark.parametrize("shape", [(8, 3), (7, 2), (1, 8, 2), (16,)])
def test_fault_08_a_chunk_of_the_wrong_shape_is_discarded_and_then_holds(make_bench, shape: tuple[int, ...]) -> None:
    bench = running(make_bench(execution_horizon=2, max_consecutive_errors=2))
    bench.policy.script = [np.zeros(shape, np.float32)] * 2
    bench.infer(), bench.infer()
    assert bench.tick().hold is not None
    assert bench.status.hold_cause is HoldCause.INVALID_ACTION
    assert f"expected actions of shape (8, 2), got {shape}" in bench.status.hold_detail


@pytest.fixture
def jump_limits(joints) -> GateLimits:
    return replace(GateLimits.unlimited(joints), max_jump=np.full(2, 0.5))


def test_fault_09_a_jump_from_where_the_robot_is_holds_before_it_moves(make_bench, jump_limits) -> None:
    bench = make_bench(limits=jump_limits)
    bench.measured = np.array([0.0, 2.0])
    bench.infer()
    tick = bench.tick()
    assert (tick.state, tick.window, tick.hold) == (HOLDING, None, None)
    assert_silent(bench)
    assert bench.status.hold_cause is HoldCause.JUMP
    assert bench.status.gate_rejected == 8
    assert not bench.infer()


def test_fault_09_a_jump_in_the_middle_of_a_chunk_holds_at_the_last_command(make_bench, jump_limits) -> None:
    bench = make_bench(limits=jump_limits)
    bench.policy.script = [np.array([[0, 0]] * 3 + [[0.6, 0]] * 5, np.float32)]
    bench.measured = np.zeros(2)
    bench.infer()
    assert [t.state for t in bench.ticks(3)] == [RUNNING] * 3
    np.testing.assert_array_equal(bench.tick().hold, [0, 0])


def test_fault_09_clamped_rows_are_executed_and_counted_once_each(make_bench, joints) -> None:
    limits = replace(GateLimits.unlimited(joints), upper=np.array([10.0, 4.5]))
    bench = make_bench(limits=limits, lookahead_steps=8)
    bench.infer()
    rows = [t.window[0, 1] for t in bench.ticks(8)]
    assert rows == [0, 1, 2, 3, 4, 4.5, 4.5, 4.5]
    assert bench.status.gate_clamped == 3


def test_fault_09_velocity_is_limited_across_ticks(make_bench, joints) -> None:
    limits = replace(GateLimits.unlimited(joints), max_velocity=np.full(2, 5.0))
    bench = make_bench(limits=limits, rate_hz=50.0)
    bench.measured = np.zeros(2)
    bench.policy.script = [np.full((8, 2), 0.25, np.float32)]
    bench.infer()
    assert [t.window[0, 0] for t in bench.ticks(4)] == pytest.approx([0.1, 0.2, 0.25, 0.25])


def test_fault_09_a_rejected_row_holds_when_it_is_due_and_not_before(make_bench, joints) -> None:
    limits = replace(GateLimits.unlimited(joints), upper=np.array([10.0, 2.5]), reject=True)
    bench = make_bench(limits=limits)
    bench.infer()
    ticks = bench.ticks(4)
    assert [t.state for t in ticks] == [RUNNING] * 3 + [HOLDING]
    assert [len(t.window) for t in ticks[:3]] == [3, 2, 1]
    np.testing.assert_array_equal(ticks[3].hold, [0, 2])
    assert bench.status.hold_cause is HoldCause.LIMIT


def test_fault_10_running_out_of_rows_is_a_hold_that_the_late_chunk_ends(make_bench) -> None:
    bench = running(make_bench(), 8)
    ticks = bench.ticks(3)
    assert [(t.state, t.window, t.hold) for t in ticks] == [(STARVED, None, None)] * 3
    status = bench.status
    assert (status.hold_cause, status.holds, status.holds_after_first_chunk) == (HoldCause.STARVED, 1, 1)
    bench.infer()
    assert bench.tick().state is RUNNING
    assert bench.status.hold_cause is None
    assert bench.status.epoch == status.epoch


def test_fault_10_the_late_chunk_has_to_pass_the_gate(make_bench, jump_limits) -> None:
    bench = make_bench(limits=jump_limits)
    bench.measured = np.zeros(2)
    bench.policy.script = [np.zeros((8, 2), np.float32), np.ones((8, 2), np.float32)]
    running(bench, 9)
    bench.infer()
    tick = bench.tick()
    assert (tick.state, tick.window) == (HOLDING, None)
    np.testing.assert_array_equal(tick.hold, [0, 0])
    assert bench.status.hold_cause is HoldCause.JUMP


def test_fault_10_a_starved_hold_says_when_an_observation_is_what_is_missing(make_bench, stale) -> None:
    bench = running(make_bench(), 8)
    bench.health, bench.not_ready = stale, "camera/top is 0.3 s old"
    bench.infer()
    bench.tick()
    assert bench.status.hold_detail == "no observation, ObservationError: camera/top is 0.3 s old"


def test_a_starved_hold_yields_to_an_expired_stream(make_bench, expired, fresh) -> None:
    bench = running(make_bench(), 9)
    bench.health = expired
    assert_silent(bench)  # the robot is where the last window ended, long since maybe
    assert (bench.status.hold_cause, bench.status.holds) == (HoldCause.STREAM_EXPIRED, 1)


def test_fault_11_an_exception_drops_the_chunk_and_the_tail_goes_on(make_bench) -> None:
    bench = running(make_bench(execution_horizon=2))
    bench.policy.script = [MemoryError("out of\nmemory")]
    assert not bench.infer()
    assert bench.tick().state is RUNNING
    assert bench.status.inference_errors == 1
    assert bench.infer()


def test_fault_11_exceptions_in_a_row_hold_with_a_one_line_cause(make_bench) -> None:
    bench = running(make_bench(execution_horizon=2, max_consecutive_errors=3))
    bench.policy.script = [RuntimeError("out of\nmemory")] * 3
    for _ in range(3):
        bench.infer()
    assert bench.tick().hold is not None
    assert_silent(bench)
    assert bench.status.hold_cause is HoldCause.POLICY_FAILED
    assert bench.status.hold_detail == "3 times in a row, last: RuntimeError: out of memory"
    assert bench.status.inference_errors == 3


def test_fault_12_an_inference_that_does_not_return_holds_while_pacing_continues(make_bench) -> None:
    bench = running(make_bench("sync", n_action_steps=3, inference_timeout_s=1.0))
    during = []
    bench.policy.during = lambda: during.extend(bench.ticks(60))
    assert not bench.executor.run_inference_once()
    states = [t.state for t in during]
    assert states == [STARVED] * 50 + [HOLDING] * 10
    assert all(t.window is None and t.hold is None for t in during)  # at rest already, and silent for good
    assert bench.status.hold_cause is HoldCause.INFERENCE_TIMEOUT
    assert bench.status.chunks_late == 1
    assert_silent(bench)


def test_waiting_for_an_observation_is_no_failure(make_bench) -> None:
    bench = make_bench(max_consecutive_errors=1)
    bench.not_ready = "camera/top: never received"
    for _ in range(5):
        assert not bench.infer()
        assert bench.tick().state is WAITING
    status = bench.status
    assert (status.inference_errors, status.holds) == (0, 0)
    assert status.not_ready == "ObservationError: camera/top: never received"
    bench.not_ready = ""
    assert bench.infer()
    assert bench.status.not_ready == ""


def test_an_operator_hold_takes_effect_on_the_next_tick_and_is_latched(make_bench) -> None:
    bench = running(make_bench())
    bench.executor.hold(HoldCause.OPERATOR, "pressed stop")
    assert not bench.infer()
    np.testing.assert_array_equal(bench.tick().hold, [0, 2])
    assert_silent(bench)
    assert bench.status.hold_detail == "pressed stop"


@pytest.mark.parametrize("cause", [HoldCause.OPERATOR, HoldCause.SHUTDOWN])
@pytest.mark.parametrize("mode", ["sync", "overlap"])
def test_fault_17_a_hold_that_is_asked_for_is_commanded_even_between_chunks(make_bench, mode, cause) -> None:
    bench = running(make_bench(mode), 9)
    bench.executor.hold(cause, "asked for")
    np.testing.assert_array_equal(bench.tick().hold, [0, 7])
    assert_silent(bench)


def test_a_second_hold_commands_nothing_and_counts_nothing(make_bench, expired) -> None:
    bench = running(make_bench())
    bench.health = expired
    bench.tick()
    bench.executor.hold(HoldCause.OPERATOR, "pressed stop")
    assert_silent(bench)
    assert (bench.status.hold_cause, bench.status.holds) == (HoldCause.OPERATOR, 1)


def test_a_latched_hold_outlives_fresh_streams(make_bench, expired, fresh) -> None:
    bench = running(make_bench())
    bench.executor.hold(HoldCause.OPERATOR, "pressed stop")
    bench.tick()
    bench.health = expired
    bench.tick()
    bench.health = fresh
    assert_silent(bench)


def test_fault_20_a_clock_jump_holds_until_the_streams_are_fresh(make_bench, expired, fresh) -> None:
    bench = running(make_bench())
    bench.executor.hold(HoldCause.CLOCK_JUMP, "went back 12 s")
    bench.health = expired
    assert bench.tick().hold is not None
    bench.health = fresh
    assert bench.tick().state is WAITING


def test_after_a_hold_the_gate_starts_from_the_measured_position(make_bench, joints) -> None:
    limits = replace(GateLimits.unlimited(joints), max_velocity=np.full(2, 5.0))
    bench = make_bench(limits=limits)
    bench.measured = np.zeros(2)
    bench.infer()
    bench.ticks(3)
    bench.executor.hold(HoldCause.OPERATOR, "moved by hand")
    bench.tick()
    bench.executor.reset("operator")
    bench.measured = np.array([7.0, 7.0])
    bench.policy.script = [np.full((8, 2), 7.5, np.float32)]
    bench.infer()
    np.testing.assert_allclose(bench.tick().window[0], [7.1, 7.1])


@pytest.mark.parametrize("seed", range(25))
def test_whatever_the_policy_does_only_finite_rows_are_commanded(make_bench, seed: int) -> None:
    random = np.random.default_rng(seed)
    bench = make_bench(max_consecutive_errors=2, execution_horizon=2)
    emitted = 0
    for _ in range(60):
        chunk = random.normal(size=(8, 2)).astype(np.float32)
        if random.random() < 0.4:
            chunk[random.integers(8), random.integers(2)] = random.choice([np.nan, np.inf, -np.inf])
        bench.policy.script = [RuntimeError("failed") if random.random() < 0.2 else chunk]
        bench.infer(consuming=int(random.integers(0, 4)))
        for tick in bench.ticks(int(random.integers(0, 6))):
            for rows in (tick.window, tick.hold):
                assert rows is None or np.all(np.isfinite(rows))
            emitted += tick.window is not None
        if bench.status.hold_cause not in (None, HoldCause.STARVED):
            bench.executor.reset("test")
    assert emitted > 10
