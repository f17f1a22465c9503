# SPDX-License-Identifier: Apache-2.0
"""The real inference thread; every wait is for an event."""

from __future__ import annotations

import threading

import pytest

from policy_ros.errors import PolicyRosError
from policy_ros.execution import ExecutionState, HoldCause

BOUND_S = 20.0  # only reached when a test fails


class Barrier:
    """Stops a prediction until it is released."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.release.wait(BOUND_S)


def tick_until(bench, state: ExecutionState, limit: int = 100_000):
    """Ticks of a virtual clock until a state is reached; real time passes only while the thread works."""
    done = threading.Event()
    for _ in range(limit):
        tick = bench.executor.tick(bench.health, bench.measured)
        if tick.state is state:
            return tick
        done.wait(0.0005)
    raise AssertionError(f"state {state.name} was never reached: {bench.status}")


def test_the_thread_infers_and_ticks_execute(make_bench) -> None:
    bench = make_bench(threaded=True)
    tick = tick_until(bench, ExecutionState.RUNNING)
    assert tick.step == 0
    assert bench.status.inference_alive
    assert bench.executor.stop(BOUND_S)
    assert not bench.executor.alive


def test_ticks_do_not_wait_for_an_inference(make_bench) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)
    bench.policy.during = barrier = Barrier()
    bench.executor.start()
    assert barrier.entered.wait(BOUND_S)
    assert [t.state for t in bench.ticks(50)] == [ExecutionState.WAITING] * 50
    barrier.release.set()
    assert tick_until(bench, ExecutionState.RUNNING).step == 0


def test_fault_12_stop_is_bounded_while_an_inference_hangs_and_start_is_refused_until_it_returns(make_bench) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)
    bench.policy.during = barrier = Barrier()
    bench.executor.start()
    assert barrier.entered.wait(BOUND_S)
    assert not bench.executor.stop(0.0)
    assert bench.executor.alive
    assert bench.tick().state is ExecutionState.IDLE
    with pytest.raises(PolicyRosError, match="has not ended"):
        bench.executor.start()
    barrier.release.set()
    assert bench.executor.stop(BOUND_S)
    assert bench.status.chunks_late == 1
    bench.policy.during = lambda: None
    bench.executor.start()
    tick_until(bench, ExecutionState.RUNNING)


def test_fault_32_a_reset_during_a_threaded_inference_drops_its_chunk(make_bench) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)
    bench.policy.during = barrier = Barrier()
    bench.executor.start()
    assert barrier.entered.wait(BOUND_S)
    bench.executor.reset("operator")
    bench.policy.during = lambda: None
    barrier.release.set()
    tick = tick_until(bench, ExecutionState.RUNNING)
    assert int(tick.window[0, 0]) == 1  # the second prediction
    assert bench.status.chunks_late == 1


def test_fault_11_the_thread_outlives_exceptions_and_recovers_after_a_reset(make_bench) -> None:
    bench = make_bench(max_consecutive_errors=3)
    bench.executor.stop(0.0)
    bench.policy.script = [RuntimeError("failed")] * 3
    bench.executor.start()
    tick_until(bench, ExecutionState.HOLDING)
    assert bench.status.hold_cause is HoldCause.POLICY_FAILED
    assert bench.executor.alive
    bench.executor.reset("operator")
    tick_until(bench, ExecutionState.RUNNING)


def test_a_defect_in_the_inference_loop_becomes_a_visible_hold(make_bench, monkeypatch) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)

    def broken(timeline, chunk) -> None:
        raise ValueError("merge is broken")

    monkeypatch.setattr(bench.executor._progress.strategy, "merge", broken)
    bench.executor.start()
    tick_until(bench, ExecutionState.HOLDING)
    assert bench.status.hold_cause is HoldCause.INTERNAL_ERROR
    assert "merge is broken" in bench.status.hold_detail


def test_the_thread_waits_for_a_tick_when_there_is_no_observation(make_bench) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)
    bench.not_ready = "camera/top: never received"
    bench.executor.start()
    for _ in range(3):
        bench.tick()
    bench.not_ready = ""
    tick_until(bench, ExecutionState.RUNNING)
    assert bench.status.inference_errors == 0


def test_a_hundred_starts_and_stops_leave_no_thread(make_bench) -> None:
    bench = make_bench()
    bench.executor.stop(0.0)
    before = threading.active_count()
    for _ in range(100):
        bench.executor.start()
        assert bench.executor.stop(BOUND_S)
    assert threading.active_count() == before
