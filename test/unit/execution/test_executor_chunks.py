# SPDX-License-Identifier: Apache-2.0
"""Which row of which chunk is executed at which step; rows are (number of the chunk, row)."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.data import ActionChunk, JointScaling
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionState, Tick
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.timeline import Timeline


def executed(ticks: list[Tick]) -> list[tuple[int, int]]:
    return [(int(t.window[0, 0]), int(t.window[0, 1])) for t in ticks if t.window is not None]


def test_nothing_is_commanded_before_the_first_chunk(make_bench) -> None:
    bench = make_bench()
    assert [(t.state, t.window, t.hold) for t in bench.ticks(3)] == [(ExecutionState.WAITING, None, None)] * 3


def test_overlap_executes_row_d_of_the_new_chunk_first(make_bench) -> None:
    bench = make_bench(horizon=8, execution_horizon=4)
    bench.infer()
    before = bench.ticks(4)
    during: list[Tick] = []
    bench.policy.during = lambda: during.extend(bench.ticks(2))
    assert bench.executor.run_inference_once()
    after = bench.ticks(1)
    assert executed(before + during + after) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 2)]
    assert (after[0].chunk.first_step, after[0].chunk.delay_steps, after[0].chunk.execution_horizon) == (4, 2, 4)
    assert (bench.status.delay, bench.status.execution_horizon, bench.status.feasible) == (2, 4, True)


def test_overlap_starts_no_inference_before_the_execution_horizon(make_bench) -> None:
    bench = make_bench(execution_horizon=3)
    bench.infer()
    started = []
    for _ in range(4):
        started.append(bench.infer())
        bench.tick()
    assert started == [False, False, False, True]


def test_sync_has_delay_zero_and_executes_every_row_once(make_bench) -> None:
    bench = make_bench("sync", n_action_steps=3)
    ticks = []
    for _ in range(3):
        assert bench.infer(consuming=5)  # the robot waits, whatever the inference takes
        ticks += bench.ticks(4)
    assert executed(ticks) == [(k, i) for k in range(3) for i in range(3)]
    assert [t.state for t in ticks[:4]] == [ExecutionState.RUNNING] * 3 + [ExecutionState.STARVED]
    assert bench.observed == [0, 3, 6]
    assert (bench.status.delay, bench.status.feasible, bench.status.holds) == (0, True, 0)


def test_the_delay_counts_consumed_steps_and_not_time(make_bench) -> None:
    bench = make_bench(execution_horizon=4)
    bench.infer()
    bench.ticks(4)
    bench.policy.during = lambda: (bench.tick(), bench.clock.advance(5.0))
    bench.executor.run_inference_once()
    assert bench.status.delay == 1
    assert bench.status.inference_latency.newest == pytest.approx(5.02)


class ListeningStrategy(OverlapStrategy):
    """Notes how often an epoch begins."""

    name = "listening"
    resets = 0

    def reset(self) -> None:
        self.resets += 1


def test_the_first_inference_of_an_epoch_is_no_measure_of_the_delay(make_bench) -> None:
    """A cold start that counted as delay would make the robot skip rows from standstill."""
    bench = make_bench(execution_horizon=2)
    bench.infer(consuming=100)
    assert bench.status.delay_estimate == 0
    estimates = []
    for consuming in (1, 2, 0):
        bench.ticks(2)
        bench.infer(consuming=consuming)
        estimates.append(bench.status.delay_estimate)
    assert estimates == [1, 2, 2]
    bench.executor.reset("operator")
    bench.infer(consuming=100)
    assert (bench.status.delay, bench.status.delay_estimate) == (0, 2)


def test_every_row_of_a_cold_start_is_executed(make_bench) -> None:
    """However long the first inference takes, its row 0 comes first: nothing was consumed meanwhile."""
    bench = make_bench(horizon=8)
    bench.infer(consuming=21)
    assert [float(tick.window[0, 1]) for tick in bench.ticks(4)] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("mode", ["sync", "overlap"])
@pytest.mark.parametrize("seed", range(25))
def test_every_executed_row_belongs_to_its_step_whatever_the_delays(make_bench, mode: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    horizon = int(random.integers(2, 30))
    bench = make_bench(mode, horizon=horizon, execution_horizon=int(random.integers(1, horizon)))
    ticks: list[Tick] = []
    bench.policy.during = lambda: ticks.extend(bench.ticks(int(random.integers(0, horizon + 3))))
    for _ in range(60):
        bench.executor.run_inference_once()
        ticks.extend(bench.ticks(int(random.integers(0, 6))))
    rows = [t for t in ticks if t.window is not None]
    assert [t.step for t in rows] == list(range(len(rows)))  # no step skipped, none twice
    for tick, (number, row) in zip(rows, executed(rows), strict=True):
        assert row == tick.step - bench.observed[number]
    numbers = [number for number, _ in executed(rows)]
    assert numbers == sorted(numbers)
    if mode == "sync":
        assert bench.status.delay == 0
    assert len(set(numbers)) > 3


def test_the_window_looks_ahead_but_not_past_the_chunk(make_bench) -> None:
    bench = make_bench(horizon=8, lookahead_steps=5)
    bench.infer()
    windows = [t.window for t in bench.ticks(8)]
    assert [len(window) for window in windows] == [5, 5, 5, 5, 4, 3, 2, 1]
    assert all(int(window[0, 1]) == step for step, window in enumerate(windows))


def test_a_new_chunk_is_reported_on_the_tick_that_first_executes_it(make_bench) -> None:
    bench = make_bench(execution_horizon=2)
    bench.infer()
    reported = [t.chunk is not None for t in bench.ticks(3)]
    bench.infer()
    reported += [t.chunk is not None for t in bench.ticks(2)]
    assert reported == [True, False, False, True, False]
    assert bench.status.chunks == 2


def test_seam_jump_is_the_step_from_the_last_command_to_the_new_chunk(make_bench) -> None:
    bench = make_bench(execution_horizon=2)
    bench.policy.script = [np.zeros((8, 2), np.float32), np.full((8, 2), 0.25, np.float32)]
    bench.infer()
    bench.ticks(2)
    assert bench.status.seam_jump == 0.0
    bench.infer()
    bench.tick()
    assert bench.status.seam_jump == pytest.approx(0.25)


def test_actions_are_scaled_to_robot_units(make_bench, joints) -> None:
    degrees = JointScaling(joints, np.full(2, 180.0 / np.pi), np.zeros(2))
    bench = make_bench(scaling=degrees)
    bench.policy.script = [np.full((8, 2), 90.0, np.float32)]
    bench.infer()
    np.testing.assert_allclose(bench.tick().window[0], np.pi / 2, atol=1e-6)


def test_fault_10_a_late_chunk_joins_by_its_measured_delay(make_bench) -> None:
    bench = make_bench(horizon=8, execution_horizon=4)
    bench.infer()
    first = bench.ticks(4)
    during: list[Tick] = []
    bench.policy.during = lambda: during.extend(bench.ticks(7))
    bench.executor.run_inference_once()
    after = bench.ticks(1)
    assert executed(first + during) == [(0, row) for row in range(8)]  # the committed tail, and not a row more
    assert [t.state for t in during[4:]] == [ExecutionState.STARVED] * 3
    assert all(t.window is None and t.hold is None for t in during[4:])
    assert executed(after) == [(1, 4)]
    assert after[0].state is ExecutionState.RUNNING
    assert (bench.status.holds, bench.status.delay, bench.status.feasible) == (1, 4, False)


class GreedyStrategy(OverlapStrategy):
    """Infers all the time, so that a whole chunk can pass during one inference."""

    name = "greedy"

    def wants_inference(self, timeline: Timeline, newest: ActionChunk | None, delay: int) -> bool:
        return True


def test_fault_10_a_chunk_whose_rows_have_all_passed_is_dropped(make_bench) -> None:
    bench = make_bench(horizon=8, strategy=GreedyStrategy)
    bench.infer()
    assert not bench.infer(consuming=8)
    assert (bench.status.chunks, bench.status.chunks_late, bench.status.queue_depth) == (1, 1, 0)
    assert bench.tick().window is None
    bench.infer()
    assert executed(bench.ticks(1)) == [(2, 0)]


def test_a_strategy_change_waits_for_the_chunk_boundary(make_bench) -> None:
    bench = make_bench("sync", execution_horizon=4)
    bench.infer()
    bench.tick()
    bench.executor.set_strategy(bench.strategy(mode="overlap", execution_horizon=2))
    assert bench.status.mode == "sync"
    bench.ticks(3)
    bench.infer()
    assert bench.status.mode == "overlap"
    assert bench.status.queue_depth == 4  # merged as it was asked for: by sync
    bench.ticks(2)
    assert bench.infer(consuming=1)


def test_a_strategy_that_takes_over_a_shorter_plan_does_not_wait_for_rows_that_never_come(make_bench) -> None:
    bench = make_bench("sync", execution_horizon=2)
    bench.infer()
    bench.executor.set_strategy(bench.strategy(mode="overlap", execution_horizon=4))
    bench.ticks(2)
    bench.infer()
    assert (bench.status.mode, bench.status.queue_depth) == ("overlap", 2)
    bench.ticks(2)
    assert bench.infer()


def test_a_strategy_change_during_an_inference_waits_for_its_chunk(make_bench) -> None:
    bench = make_bench("sync", execution_horizon=4)
    bench.policy.during = lambda: bench.executor.set_strategy(bench.strategy(mode="overlap"))
    bench.executor.run_inference_once()
    assert (bench.status.mode, bench.status.queue_depth) == ("overlap", 4)


def test_a_strategy_change_with_nothing_planned_is_immediate(make_bench) -> None:
    bench = make_bench("sync")
    bench.executor.set_strategy(bench.strategy(mode="overlap"))
    assert bench.status.mode == "overlap"


def test_a_strategy_for_other_chunks_is_refused(make_bench) -> None:
    bench = make_bench(horizon=8)
    other = make_bench(horizon=9)
    with pytest.raises(ConfigurationError, match=r"horizon=8.*horizon=9"):
        bench.executor.set_strategy(other.strategy())


def test_a_guided_policy_gets_the_rows_not_executed_yet_in_its_own_units(make_bench, joints) -> None:
    scaling = JointScaling(joints, np.full(2, 10.0), np.ones(2))
    bench = make_bench("rtc", horizon=8, execution_horizon=3, scaling=scaling)
    bench.infer()
    assert bench.policy.guidances == []
    bench.ticks(3)
    bench.infer(consuming=2)
    bench.ticks(1)
    bench.infer(consuming=1)
    bench.ticks(2)
    bench.infer()
    first, second, third = bench.policy.guidances
    np.testing.assert_allclose(first.prefix, [[0, row] for row in range(3, 8)], atol=1e-5)
    assert (first.delay, first.execution_horizon) == (3, 3), "nothing measured yet: as cautious as can be"
    np.testing.assert_allclose(second.prefix, [[1, row] for row in range(3, 8)], atol=1e-5)
    assert (second.delay, second.execution_horizon) == (3, 3), "the first guided inference fills caches"
    np.testing.assert_allclose(third.prefix, [[2, row] for row in range(3, 8)], atol=1e-5)
    assert (third.delay, third.execution_horizon) == (1, 3)


def test_a_strategy_is_told_when_an_epoch_begins(make_bench) -> None:
    bench = make_bench(strategy=ListeningStrategy)
    before = bench.executor._progress.strategy.resets
    bench.executor.reset("operator")
    assert bench.executor._progress.strategy.resets == before + 1


def test_status_measures_commands_and_observations(make_bench) -> None:
    bench = make_bench(rate_hz=50.0)
    bench.infer()
    bench.ticks(5)
    status = bench.status
    assert (status.commands, status.command_period.count, status.queue_depth, status.step) == (5, 4, 3, 5)
    assert status.command_period.p50 == pytest.approx(0.02)
    assert status.observation_age.newest == pytest.approx(0.04)


def test_the_policy_sees_the_features_of_the_observation(make_bench) -> None:
    bench = make_bench()
    bench.infer()
    assert list(bench.policy.seen[0]) == ["observation.state"]
