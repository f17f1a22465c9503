# SPDX-License-Identifier: Apache-2.0
"""A bench for the executor: a policy whose rows tell where they come from, a virtual clock, no threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from policy_ros.data import JointScaling, Observation, StreamHealth
from policy_ros.errors import ObservationError
from policy_ros.execution import (
    ChunkExecutor,
    ExecutionConfig,
    Gate,
    GateLimits,
    Strategy,
    Tick,
    VirtualClock,
    make_strategy,
)
from policy_ros.execution.strategies import Guidance

JOINTS = ("shoulder", "elbow")
FRESH = StreamHealth(ages_s={"camera/top": 0.01, "joint_states": 0.0})
STALE = StreamHealth(ages_s={"camera/top": 0.3, "joint_states": 0.0}, stale=("camera/top",))
EXPIRED = StreamHealth(ages_s={"camera/top": 0.6, "joint_states": 0.0}, stale=("camera/top",), expired=("camera/top",))


class ScriptedPolicy:
    """Row i of its k-th chunk is ``(k, i)``, so that an executed row tells chunk and row; or whatever is scripted."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.script: list[np.ndarray | Exception] = []  # what the next predictions return or raise
        self.during: Callable[[], None] = lambda: None  # runs inside predict
        self.predictions = 0
        self.calls: list[str] = []
        self.seen: list[object] = []
        self.guidances: list[Guidance] = []  # what it was guided by, in units of the checkpoint

    def reset(self) -> None:
        self.calls.append("reset")

    def predict(self, observation: object) -> np.ndarray:
        self.calls.append("predict")
        self.seen.append(observation)
        number, self.predictions = self.predictions, self.predictions + 1
        self.during()
        result = self.script.pop(0) if self.script else rows_of(number, self.horizon)
        if isinstance(result, Exception):
            raise result
        return result

    def guided_inference(self, observation, *, prefix, delay, execution_horizon, options) -> np.ndarray:
        self.guidances.append(Guidance(prefix, delay, execution_horizon, options))
        return self.predict(observation)


def rows_of(number: int, horizon: int) -> np.ndarray:
    return np.stack([np.full(horizon, number), np.arange(horizon)], axis=1).astype(np.float32)


@dataclass
class Bench:
    """The executor and everything around it."""

    executor: ChunkExecutor
    policy: ScriptedPolicy
    clock: VirtualClock
    config: ExecutionConfig
    health: StreamHealth = FRESH
    measured: np.ndarray | None = None
    not_ready: str = ""
    observed: list[int] = field(default_factory=list)  # step at which each observation was taken

    def tick(self) -> Tick:
        self.clock.advance(self.config.period_s)
        return self.executor.tick(self.health, self.measured)

    def ticks(self, count: int) -> list[Tick]:
        return [self.tick() for _ in range(count)]

    def infer(self, *, consuming: int = 0) -> bool:
        """One inference during which so many control ticks pass."""
        self.policy.during = lambda: self.ticks(consuming) and None
        return self.executor.run_inference_once()

    def strategy(self, **changes: object) -> Strategy:
        return make_strategy(
            replace(self.config, **changes),
            horizon=self.policy.horizon,
            n_action_steps=self.policy.horizon,
            supports_guidance=True,
        )

    @property
    def status(self):
        return self.executor.status()


@pytest.fixture
def make_bench():
    """Makes a started bench without threads; chunks have 8 rows unless told otherwise."""

    def make(
        mode: str = "overlap",
        *,
        horizon: int = 8,
        n_action_steps: int | None = None,
        limits: GateLimits | None = None,
        scaling: JointScaling | None = None,
        strategy: type[Strategy] | None = None,
        threaded: bool = False,
        supports_guidance: bool = True,
        **settings: object,
    ) -> Bench:
        config = ExecutionConfig(mode=mode, **settings)
        chosen = make_strategy(
            config, horizon=horizon, n_action_steps=n_action_steps or horizon, supports_guidance=supports_guidance
        )
        if strategy is not None:
            chosen = strategy(chosen.shape, config)
        policy, clock = ScriptedPolicy(horizon), VirtualClock()

        def observe() -> Observation:
            if bench.not_ready:
                raise ObservationError(bench.not_ready)
            bench.observed.append(bench.executor.status().step)
            stamp = clock.now_ns() - 40_000_000
            return Observation({"observation.state": np.zeros(2)}, {"joint_states": stamp}, stamp)

        executor = ChunkExecutor(
            policy,
            observe,
            strategy=chosen,
            gate=Gate(limits or GateLimits.unlimited(JOINTS)),
            scaling=scaling or JointScaling.identity(JOINTS),
            config=config,
            monotonic_ns=clock.now_ns,
            stamp_now_ns=clock.now_ns,
        )
        bench = Bench(executor, policy, clock, config)
        benches.append(bench)
        executor.start(threaded=threaded)
        return bench

    benches: list[Bench] = []
    yield make
    for bench in benches:
        assert bench.executor.stop(10.0), "an inference thread outlived its test"


@pytest.fixture
def fresh() -> StreamHealth:
    return FRESH


@pytest.fixture
def stale() -> StreamHealth:
    return STALE


@pytest.fixture
def expired() -> StreamHealth:
    return EXPIRED


@pytest.fixture
def joints() -> tuple[str, ...]:
    return JOINTS
