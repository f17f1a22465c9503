# SPDX-License-Identifier: Apache-2.0
"""A control thread that did not run for a while does not command what was right before."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.data import StreamHealth
from policy_ros.execution import ExecutionState, GateLimits, HoldCause

COMMAND_TICKS = 5  # a command lasts so long


@pytest.fixture
def moving(make_bench, joints):
    """Three rows of a chunk were executed; a hold takes five periods to stop."""
    wide = np.full(2, np.inf)
    limits = GateLimits(joints, -wide, wide, wide, wide, ramp_down_s=0.1)
    bench = make_bench(horizon=20, lookahead_steps=COMMAND_TICKS, limits=limits)
    bench.infer()
    bench.ticks(3)
    return bench


def stall(bench, ticks: float) -> None:
    """The next tick comes so many periods later than it should."""
    bench.clock.advance(ticks * bench.config.period_s)


def test_a_stall_shorter_than_a_command_goes_on_with_the_plan(moving) -> None:
    stall(moving, COMMAND_TICKS - 1.5)
    tick = moving.tick()
    assert tick.state is ExecutionState.RUNNING
    np.testing.assert_array_equal(tick.window[0], [0, 3])


def test_a_longer_stall_makes_the_plan_void_and_the_next_command_comes_from_a_new_one(moving) -> None:
    epoch = moving.status.epoch
    stall(moving, COMMAND_TICKS)
    tick = moving.tick()
    assert tick.state is ExecutionState.WAITING and tick.window is None
    assert moving.status.epoch == epoch + 1
    moving.infer()
    np.testing.assert_array_equal(moving.tick().window[0], [1, 0])


def test_a_fault_during_a_long_stall_is_followed_by_silence_not_by_late_braking(moving, expired: StreamHealth) -> None:
    moving.health = expired
    stall(moving, COMMAND_TICKS)
    ticks = moving.ticks(10)
    assert all(tick.state is ExecutionState.HOLDING for tick in ticks)
    assert all(tick.window is None and tick.hold is None for tick in ticks)
    assert moving.status.hold_cause is HoldCause.STREAM_EXPIRED


def test_a_stall_while_braking_ends_the_braking_and_the_hold_stays(moving) -> None:
    moving.executor.hold(HoldCause.JOINT_CONFLICT, "two sources")
    assert moving.tick().window is not None
    stall(moving, COMMAND_TICKS)
    ticks = moving.ticks(5)
    assert all(tick.window is None and tick.hold is None for tick in ticks)
    assert moving.status.hold_cause is HoldCause.JOINT_CONFLICT


def test_a_robot_that_waits_for_its_chunk_is_not_stalled(make_bench) -> None:
    bench = make_bench("sync", horizon=20, lookahead_steps=COMMAND_TICKS)
    bench.infer()
    bench.ticks(20)
    epoch = bench.status.epoch
    stall(bench, 3 * COMMAND_TICKS)
    assert bench.tick().state is ExecutionState.STARVED
    bench.infer()
    assert bench.tick().state is ExecutionState.RUNNING
    assert bench.status.epoch == epoch
