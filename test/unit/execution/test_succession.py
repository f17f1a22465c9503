# SPDX-License-Identifier: Apache-2.0
"""One policy follows another while the robot moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from policy_ros.data import Observation
from policy_ros.errors import ConfigurationError, ObservationError
from policy_ros.execution import ExecutionState, GateLimits, HoldCause, Strategy, Successor, make_strategy

JOINTS = ("shoulder", "elbow")
MODES = ("overlap", "ensemble", "blend", "rtc", "sync")
PLACE = 50.0


class ElsewherePolicy:
    """All its rows are one place, far from those of the other, unless something else is scripted."""

    def __init__(self, horizon: int, script: Sequence[np.ndarray | Exception] = ()) -> None:
        self.horizon = horizon
        self.script = list(script)
        self.during: Callable[[], object] = lambda: None
        self.calls: list[str] = []
        self.seen: list[object] = []
        self.guided = 0

    @property
    def predictions(self) -> int:
        return self.calls.count("predict")

    def reset(self) -> None:
        self.calls.append("reset")

    def predict(self, observation: object) -> np.ndarray:
        self.calls.append("predict")
        self.seen.append(observation)
        self.during()
        answer = self.script.pop(0) if self.script else np.full((self.horizon, len(JOINTS)), PLACE, np.float32)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def guided_inference(self, observation: object, **guidance: object) -> np.ndarray:
        self.guided += 1
        return self.predict(observation)


@dataclass
class Heir:
    """A successor and what it was told."""

    policy: ElsewherePolicy
    successor: Successor
    told: list[str] = field(default_factory=list)


def heir(bench, *, horizon: int = 12, mode: str = "", policy: ElsewherePolicy | None = None, **changes) -> Heir:
    chosen, told = policy or ElsewherePolicy(horizon), []

    def observe() -> Observation:
        return Observation({"observation.state": np.ones(2)}, {"joint_states": 0}, bench.clock.now_ns())

    def strategy() -> Strategy:
        config = replace(bench.config, mode=mode or bench.config.mode)
        return make_strategy(config, horizon=horizon, n_action_steps=horizon, supports_guidance=True)

    given = {
        "policy": chosen,
        "observe": observe,
        "horizon": horizon,
        "make_strategy": strategy,
        "begun": lambda: told.append("begun"),
        "taken_over": lambda: told.append("taken over"),
        "failed": lambda reason: told.append(reason),
        **changes,
    }
    return Heir(chosen, Successor(**given), told)


@pytest.fixture
def moving(make_bench):
    """A bench in the middle of its first chunk."""

    def make(mode: str = "overlap", **settings):
        bench = make_bench(mode, horizon=20, **settings)
        bench.measured = np.zeros(2)
        bench.infer()
        bench.ticks(3)
        return bench

    return make


def to_the_boundary(bench) -> None:
    """Let the running policy infer until a trial is due."""
    for _ in range(40):
        if bench.infer():
            return
        bench.tick()
    raise AssertionError("no chunk took over")


def test_the_running_policy_goes_on_until_the_next_chunk_boundary(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    assert bench.infer() is False, "in the middle of a chunk"
    assert new.told == [] and bench.status.epoch == 1
    to_the_boundary(bench)
    assert new.policy.predictions == 0 and bench.status.epoch == 1


def test_the_first_chunk_of_the_successor_begins_a_new_epoch_and_no_tick_is_without_a_command(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    during = []
    new.policy.during = lambda: during.extend(bench.ticks(4))
    assert bench.executor.run_inference_once()
    assert new.told == ["begun", "taken over"]
    assert {tick.state for tick in during} == {ExecutionState.RUNNING}
    assert (bench.status.epoch, bench.status.horizon, bench.status.holds) == (2, 12, 0)
    after = bench.tick()
    assert after.state is ExecutionState.RUNNING
    assert after.chunk is not None and (after.chunk.epoch, after.chunk.delay_steps) == (2, 4)
    assert new.policy.calls == ["reset", "predict"]
    assert new.policy.seen[0]["observation.state"][0] == 1.0, "its own observation"


def test_the_old_policy_is_not_asked_again(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    assert bench.executor.run_inference_once()
    asked = bench.policy.predictions
    for _ in range(30):
        bench.executor.run_inference_once()
        bench.tick()
    assert bench.policy.predictions == asked
    assert new.policy.predictions > 1 and new.policy.calls.count("reset") == 1


@pytest.mark.parametrize("old_mode", MODES)
@pytest.mark.parametrize("new_mode", MODES)
def test_from_every_mode_to_every_other_no_command_breaks_the_gates_limits(moving, old_mode, new_mode):
    limits = GateLimits(
        names=JOINTS,
        lower=np.full(2, -1e3),
        upper=np.full(2, 1e3),
        max_velocity=np.full(2, 100.0),
        max_jump=np.full(2, np.inf),
        max_acceleration=np.full(2, 500.0),
    )
    bench = moving(old_mode, limits=limits)
    new = heir(bench, mode=new_mode)
    bench.executor.succeed(new.successor)
    runs: list[list[np.ndarray]] = [[]]
    for _ in range(120):
        bench.infer()
        tick = bench.tick()
        assert tick.state in (ExecutionState.RUNNING, ExecutionState.STARVED)
        if tick.window is not None:
            runs[-1].append(tick.window[0])
        elif runs[-1]:  # it came to rest
            runs.append([])
    assert new.told == ["begun", "taken over"]
    for rows in filter(None, runs):
        velocity = np.diff(rows, axis=0) / bench.config.period_s
        assert np.abs(velocity).max(initial=0.0) <= 100.0 + 1e-6
        assert np.abs(np.diff(velocity, axis=0)).max(initial=0.0) / bench.config.period_s <= 500.0 + 1e-3
    assert [rows for rows in runs if rows][-1][-1] == pytest.approx([PLACE, PLACE], abs=1.0)


@pytest.mark.parametrize("mode", ["overlap", "ensemble", "blend", "rtc"])
def test_the_successors_chunk_fades_in_over_what_was_planned(moving, mode):
    bench = moving(mode)
    new = heir(bench)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    before = bench.tick().window[0]
    assert bench.executor.run_inference_once()
    first = bench.tick().window[0]
    assert np.abs(first - before).max() < PLACE / 4, "not there in one step"


def test_the_first_chunk_is_not_guided_and_those_after_it_are(moving):
    bench = moving("rtc")
    new = heir(bench)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    assert bench.executor.run_inference_once()
    assert new.policy.guided == 0
    bench.ticks(6)
    assert bench.executor.run_inference_once()
    assert new.policy.guided == 1


def test_what_was_learnt_of_the_old_policys_delay_is_forgotten(moving):
    bench = moving()
    bench.ticks(7)
    bench.infer(consuming=6)
    assert bench.status.delay_estimate == 6
    new = heir(bench)
    bench.executor.succeed(new.successor)
    bench.ticks(4)
    to_the_boundary(bench)
    new.policy.during = lambda: bench.ticks(2) and None
    assert bench.executor.run_inference_once()
    assert bench.status.delay_estimate == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RuntimeError("out of memory"), "out of memory"),
        (np.zeros((12, 3), np.float32), "expected actions of shape (12, 2), got (12, 3)"),
        (np.full((12, 2), np.nan, np.float32), "expected finite actions"),
    ],
    ids=["raises", "another shape", "not finite"],
)
def test_fault_34_a_successor_that_fails_leaves_everything_as_it_was(moving, answer, reason):
    bench = moving()
    failing = ElsewherePolicy(12, [answer])
    new = heir(bench, policy=failing)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    assert bench.executor.run_inference_once() is False
    assert new.told[0] == "begun" and reason in new.told[1]
    assert bench.executor.successor is None
    assert (bench.status.epoch, bench.status.holds, bench.status.horizon) == (1, 0, 20)
    for _ in range(40):
        assert bench.tick().state is ExecutionState.RUNNING
        bench.infer()
    assert failing.predictions == 1 and bench.policy.predictions > 2


def test_fault_34_a_successor_whose_mode_cannot_be_is_given_up(moving):
    bench = moving()

    def refuse() -> Strategy:
        raise ConfigurationError("expected a policy that can be guided")

    new = heir(bench, make_strategy=refuse)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    assert bench.executor.run_inference_once() is False
    assert new.told == ["begun", "expected a policy that can be guided"]
    assert bench.status.epoch == 1


def test_fault_34_a_successor_slower_than_its_own_chunk_is_given_up(moving):
    bench = moving()
    new = heir(bench, horizon=4)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    new.policy.during = lambda: bench.ticks(5) and None
    assert bench.executor.run_inference_once() is False
    assert "expected a chunk before its 4 rows were over, it took 5 steps" in new.told[1]
    assert bench.tick().state is ExecutionState.RUNNING


@pytest.mark.parametrize("mode", ["overlap", "sync"])
def test_a_successor_that_cannot_observe_yet_lets_the_running_policy_go_on(moving, mode):
    bench = moving(mode)
    blind = [True]

    def observe() -> Observation:
        if blind[0]:
            raise ObservationError("camera/side: expected samples, never received any")
        return Observation({}, {"joint_states": 0}, bench.clock.now_ns())

    new = heir(bench, observe=observe)
    bench.executor.succeed(new.successor)
    before = bench.policy.predictions
    for _ in range(60):
        bench.infer()
        bench.tick()
    assert bench.policy.predictions > before + 1
    assert new.told[-1] == "begun" and bench.status.holds == 0
    blind[0] = False
    for _ in range(60):
        bench.infer()
        bench.tick()
    assert new.told[-1] == "taken over"


def test_the_newer_of_two_successors_wins_even_while_the_first_infers(moving):
    bench = moving()
    first, second = heir(bench), heir(bench, horizon=15)
    bench.executor.succeed(first.successor)
    to_the_boundary(bench)
    first.policy.during = lambda: bench.executor.succeed(second.successor)
    assert bench.executor.run_inference_once() is False
    assert first.told == ["begun"]
    for _ in range(40):
        bench.infer()
        bench.tick()
    assert second.told == ["begun", "taken over"] and bench.status.horizon == 15


def test_a_successor_that_is_withdrawn_does_not_take_over(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    assert bench.executor.withdraw(new.successor) is True
    assert bench.executor.withdraw(new.successor) is False
    for _ in range(40):
        bench.infer()
        bench.tick()
    assert new.told == [] and bench.status.epoch == 1


def test_a_reset_during_the_trial_lets_it_be_tried_again(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    new.policy.during = lambda: bench.executor.reset("test") and None
    assert bench.executor.run_inference_once() is False
    new.policy.during = lambda: None
    assert bench.executor.run_inference_once(), "nothing is planned: at once"
    assert new.told == ["begun", "begun", "taken over"]


def test_no_successor_takes_over_during_a_latched_hold(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.hold(HoldCause.OPERATOR, "test")
    bench.tick()
    bench.executor.succeed(new.successor)
    assert bench.executor.run_inference_once() is False and new.told == []
    bench.executor.reset("test")
    assert bench.executor.run_inference_once()
    assert new.told == ["begun", "taken over"]


def test_while_nothing_is_executed_a_successor_takes_over_at_once(moving):
    bench = moving()
    bench.executor.stop(1.0)
    new = heir(bench)
    bench.executor.succeed(new.successor)
    assert new.told == ["taken over"]
    bench.executor.start(threaded=False)
    assert bench.executor.run_inference_once()
    assert new.policy.calls == ["reset", "predict"] and bench.status.horizon == 12


def test_a_successor_that_still_waits_when_the_execution_stops_takes_over_at_the_next_start(moving):
    bench = moving()
    new = heir(bench)
    bench.executor.succeed(new.successor)
    bench.executor.stop(1.0)
    bench.executor.start(threaded=False)
    assert new.told == ["taken over"]
    assert bench.executor.run_inference_once()
    assert new.policy.predictions == 1


def test_rows_that_run_out_before_the_successors_chunk_are_a_hold_that_its_chunk_ends(moving):
    bench = moving()
    new = heir(bench, horizon=40)
    bench.executor.succeed(new.successor)
    to_the_boundary(bench)
    new.policy.during = lambda: bench.ticks(25) and None
    assert bench.executor.run_inference_once()
    assert bench.status.hold_cause is HoldCause.STARVED
    assert bench.tick().state is ExecutionState.RUNNING
    assert bench.status.hold_cause is None
