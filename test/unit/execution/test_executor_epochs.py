# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.execution import ExecutionState, HoldCause


def test_fault_20_a_reset_begins_a_new_epoch_at_step_zero(make_bench) -> None:
    bench = make_bench()
    bench.infer()
    bench.ticks(3)
    epoch = bench.status.epoch
    assert bench.executor.reset("operator") == epoch + 1
    status = bench.status
    assert (status.epoch, status.step, status.queue_depth, status.delay) == (epoch + 1, 0, 0, 0)
    assert bench.tick().state is ExecutionState.WAITING


def test_fault_20_the_policy_is_reset_once_per_epoch_before_it_predicts(make_bench) -> None:
    bench = make_bench(execution_horizon=1)
    bench.infer()
    bench.tick()
    bench.infer()
    bench.executor.reset("operator")
    bench.executor.reset("again")
    bench.infer()
    assert bench.policy.calls == ["reset", "predict", "predict", "reset", "predict"]


def test_a_reset_during_an_inference_drops_its_chunk(make_bench) -> None:
    bench = make_bench()
    bench.policy.during = lambda: bench.executor.reset("operator")
    assert not bench.executor.run_inference_once()
    assert (bench.status.chunks, bench.status.chunks_late, bench.status.queue_depth) == (0, 1, 0)
    assert bench.tick().state is ExecutionState.WAITING
    assert bench.infer()
    assert int(bench.tick().window[0, 0]) == 1


def test_failures_of_an_old_epoch_do_not_hold_the_new_one(make_bench) -> None:
    bench = make_bench(max_consecutive_errors=1)
    bench.policy.script = [RuntimeError("failed")]
    bench.policy.during = lambda: bench.executor.reset("operator")
    bench.executor.run_inference_once()
    assert bench.status.inference_errors == 1
    assert bench.tick().state is ExecutionState.WAITING


def test_fault_32_a_chunk_that_arrives_after_stop_is_dropped_and_nothing_is_published(make_bench) -> None:
    bench = make_bench(execution_horizon=2)
    bench.infer()
    bench.ticks(2)
    bench.policy.during = lambda: bench.executor.stop(0.0)
    assert not bench.executor.run_inference_once()
    assert bench.status.chunks_late == 1
    assert [(t.state, t.window, t.hold) for t in bench.ticks(3)] == [(ExecutionState.IDLE, None, None)] * 3


def test_fault_32_a_chunk_of_an_earlier_run_does_not_enter_the_next(make_bench) -> None:
    bench = make_bench()

    def restart() -> None:
        bench.executor.stop(0.0)
        bench.executor.start(threaded=False)

    bench.policy.during = restart
    assert not bench.executor.run_inference_once()
    assert bench.tick().state is ExecutionState.WAITING


def test_start_counts_from_zero_and_forgets_the_last_hold(make_bench) -> None:
    bench = make_bench()
    bench.infer()
    bench.ticks(3)
    bench.executor.hold(HoldCause.OPERATOR, "pressed stop")
    bench.tick()
    bench.executor.stop(0.0)
    bench.executor.start(threaded=False)
    status = bench.status
    assert (status.state, status.hold_cause) == (ExecutionState.WAITING, None)
    assert (status.chunks, status.commands, status.holds, status.command_period.count) == (0, 0, 0, 0)


def test_the_pause_between_two_epochs_is_no_command_period(make_bench) -> None:
    bench = make_bench()
    bench.infer()
    bench.ticks(2)
    bench.executor.reset("operator")
    bench.clock.advance(60.0 - 1.0)
    bench.infer()
    bench.ticks(2)
    assert bench.status.command_period.p99 == pytest.approx(bench.config.period_s)


def test_chunk_sequence_and_epoch_are_in_the_chunk(make_bench) -> None:
    bench = make_bench(execution_horizon=1)
    chunks = []
    for _ in range(2):
        bench.infer()
        chunks.append(bench.tick().chunk)
    epoch = bench.executor.reset("operator")
    bench.infer()
    chunks.append(bench.tick().chunk)
    assert [chunk.sequence for chunk in chunks] == [0, 1, 2]
    assert [chunk.epoch for chunk in chunks] == [epoch - 1, epoch - 1, epoch]
    assert list(chunks[0].observation_stamps_ns) == ["joint_states"]
    np.testing.assert_array_equal(chunks[0].actions[:, 1], np.arange(8))
