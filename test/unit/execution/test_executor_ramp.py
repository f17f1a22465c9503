# SPDX-License-Identifier: Apache-2.0
"""A hold brings the robot to rest instead of stopping it dead."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.data import StreamHealth
from policy_ros.execution import ExecutionState, GateLimits, HoldCause

STEP = 0.01  # what each joint moves from row to row


@pytest.fixture
def moving(make_bench, joints):
    """Both joints move at a constant speed; a hold takes five periods to stop them."""
    wide = np.full(2, np.inf)
    bench = make_bench(limits=GateLimits(joints, -wide, wide, wide, wide, ramp_down_s=0.1), horizon=40)
    bench.policy.script = [np.outer(np.arange(40), [STEP, -STEP]).astype(np.float32)]
    bench.infer()
    bench.ticks(10)
    return bench


def test_the_speed_falls_evenly_then_one_command_to_stay_then_silence(moving, expired: StreamHealth) -> None:
    moving.health = expired
    ticks = moving.ticks(10)
    assert all(tick.state is ExecutionState.HOLDING for tick in ticks)
    rows = [tick.window[0] for tick in ticks if tick.window is not None]
    steps = np.diff(np.vstack([[0.09, -0.09], *rows]), axis=0)
    np.testing.assert_allclose(steps, np.outer([0.8, 0.6, 0.4, 0.2], [STEP, -STEP]), atol=1e-6)
    holds = [tick.hold for tick in ticks if tick.hold is not None]
    assert len(holds) == 1 and ticks[4].hold is holds[0]
    np.testing.assert_allclose(holds[0], rows[-1])
    assert all(tick.window is None and tick.hold is None for tick in ticks[5:])


def test_every_window_on_the_way_ends_where_the_robot_will_rest(moving, expired: StreamHealth) -> None:
    moving.health = expired
    windows = [tick.window for tick in moving.ticks(4)]
    assert [len(window) for window in windows] == [4, 3, 2, 1]
    assert all(np.array_equal(window[-1], windows[0][-1]) for window in windows)


def test_a_hold_does_not_end_before_the_robot_rests(moving, fresh: StreamHealth, expired: StreamHealth) -> None:
    moving.health = expired
    moving.tick()
    moving.health = fresh
    assert [tick.state for tick in moving.ticks(4)] == [ExecutionState.HOLDING] * 4
    assert moving.tick().state is ExecutionState.WAITING


def test_a_worse_fault_while_braking_takes_over_the_cause_and_the_braking_goes_on(moving, expired) -> None:
    moving.health = expired
    moving.ticks(2)
    moving.executor.hold(HoldCause.JOINT_CONFLICT, "two sources")
    ticks = moving.ticks(3)
    assert moving.status.hold_cause is HoldCause.JOINT_CONFLICT
    assert [tick.window is not None for tick in ticks] == [True, True, False]
    assert ticks[2].hold is not None


def test_a_reset_while_braking_starts_over_from_where_the_robot_is(moving, expired, fresh) -> None:
    moving.health = expired
    moving.ticks(2)
    moving.health = fresh
    moving.executor.reset("operator")
    assert moving.tick().state is ExecutionState.WAITING
    moving.infer()
    assert moving.tick().state is ExecutionState.RUNNING


def test_a_robot_at_rest_is_only_told_to_stay(moving, expired) -> None:
    moving.executor.reset("operator")
    moving.policy.script = [np.zeros((40, 2), np.float32)]
    moving.infer()
    moving.measured = np.zeros(2)
    moving.ticks(3)
    moving.health = expired
    tick = moving.tick()
    assert tick.window is None
    np.testing.assert_array_equal(tick.hold, np.zeros(2))


@pytest.mark.parametrize("cause", [HoldCause.OPERATOR, HoldCause.SHUTDOWN])
def test_who_asks_for_a_hold_gets_the_ramp_too_and_no_fault_is_counted(moving, cause) -> None:
    moving.executor.hold(cause, "asked for")
    ticks = moving.ticks(6)
    assert [tick.window is not None for tick in ticks] == [True] * 4 + [False] * 2
    assert moving.status.holds == 0


def test_a_jump_ends_in_a_ramp_from_the_last_command_not_from_the_jump(make_bench, joints) -> None:
    wide = np.full(2, np.inf)
    bench = make_bench(limits=GateLimits(joints, -wide, wide, wide, np.full(2, 0.5), ramp_down_s=0.1), horizon=20)
    rows = np.outer(np.arange(20), [STEP, STEP])
    rows[10:] += 2.0
    bench.policy.script = [rows.astype(np.float32)]
    bench.measured = np.zeros(2)
    bench.infer()
    ticks = bench.ticks(15)
    assert bench.status.hold_cause is HoldCause.JUMP
    commanded = np.array([tick.window[0] for tick in ticks if tick.window is not None])
    assert np.abs(np.diff(commanded, axis=0)).max() <= STEP + 1e-6
    assert bench.status.joint_rejected == (1, 1)


def test_clamped_rows_are_counted_for_the_joint_that_was_clamped(make_bench, joints) -> None:
    wide = np.full(2, np.inf)
    bench = make_bench(limits=GateLimits(joints, -wide, np.array([9.0, 2.5]), wide, wide))
    bench.infer()
    bench.ticks(8)  # the second joint counts rows: 0 to 7
    assert bench.status.joint_clamped == (0, 5)
    assert bench.status.gate_clamped == 5


@pytest.mark.parametrize("mode", ["sync", "overlap"])
def test_after_a_gap_the_robot_starts_from_rest_as_it_came_to_rest_there(make_bench, joints, mode: str) -> None:
    wide = np.full(2, np.inf)
    bench = make_bench(mode, limits=GateLimits(joints, -wide, wide, wide, wide, max_acceleration=20.0), horizon=8)
    bench.measured = np.zeros(2)
    way = np.cumsum(np.minimum(np.arange(1, 30), 5) * 0.008).astype(np.float32)  # speeds up, then goes on
    bench.policy.script = [np.stack([way[:8]] * 2, axis=1), np.stack([way[8:16]] * 2, axis=1)]
    bench.infer()
    before = [tick.window[0] for tick in bench.ticks(8)]
    np.testing.assert_allclose(before, np.stack([way[:8]] * 2, axis=1), atol=1e-6)
    bench.ticks(3)  # nothing is commanded
    bench.infer()
    after = bench.tick().window[0]
    np.testing.assert_allclose(after - before[-1], 20.0 / 50.0**2, atol=1e-6)
