# SPDX-License-Identifier: Apache-2.0
"""One episode: the real executor on a virtual clock, and an arm that follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from policy_ros.bench.execution.arm import Arm
from policy_ros.bench.execution.contenders import Contender
from policy_ros.bench.execution.delay import DelaySequence
from policy_ros.bench.execution.task import DURATION_S, JOINTS, ForkedPath
from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, JointScaling, Observation, StreamHealth
from policy_ros.execution import (
    ChunkExecutor,
    ChunkPolicy,
    ExecutionConfig,
    ExecutionState,
    ExecutionStatus,
    Gate,
    GateLimits,
    GuidedPolicy,
    VirtualClock,
    make_strategy,
)
from policy_ros.rtc import GuidanceOptions

FloatArray = NDArray[np.float64]
Features = Mapping[str, NDArray[Any] | str]

TIME_LIMIT_S = 4.0 * DURATION_S
_FRESH = StreamHealth(ages_s={"joint_states": 0.0})


@dataclass(frozen=True)
class Trace:
    """What happened in one episode, a sample per control tick.

    Attributes:
        period_s: of the control ticks [s].
        commands: ``(T + 1, A)`` newest command [rad], the start first; sample i + 1 is that of tick i.
        positions: ``(T + 1, A)`` of the arm [rad]; sample i + 1 is a period after tick i.
        states: ``(T,)`` :class:`ExecutionState` of each tick.
        seams: ``(T,)`` whether the tick was the first of a chunk.
        inferences_s: ``(K, 2)`` begin and end of each inference [s].
        delays: measured delay of each chunk that took over [steps].
        modes: what acted, of all that were asked for or degraded to, in order of appearance.
        degradation: newest reason for one of them, empty without.
        status: of the executor when the goal was reached, or at the end.
        reached: whether the arm came to the goal, which ended the episode.
    """

    period_s: float
    commands: FloatArray
    positions: FloatArray
    states: NDArray[np.int64]
    seams: NDArray[np.bool_]
    inferences_s: FloatArray
    delays: tuple[int, ...]
    modes: tuple[str, ...]
    degradation: str
    status: ExecutionStatus
    reached: bool


class SlowPolicy:
    """Computes at once, then lets virtual time pass before it returns: an inference beside which the arm goes on.

    Args:
        policy: computes.
        let_pass: called after each chunk was computed.
    """

    def __init__(self, policy: ChunkPolicy, let_pass: Callable[[], None]) -> None:
        self._policy = policy
        self._let_pass = let_pass

    def reset(self) -> None:
        """A new epoch begins."""
        self._policy.reset()

    def predict(self, observation: Features, /) -> NDArray[np.float32]:
        """The policy's chunk, late."""
        chunk = self._policy.predict(observation)
        self._let_pass()
        return chunk

    def guided_inference(
        self,
        observation: Features,
        /,
        *,
        prefix: NDArray[np.float32],
        delay: int,
        execution_horizon: int,
        options: GuidanceOptions,
    ) -> NDArray[np.float32]:
        """The policy's guided chunk, late."""
        guided = cast(GuidedPolicy, self._policy)  # the executor asks for guidance only where the policy declares it
        chunk = guided.guided_inference(
            observation, prefix=prefix, delay=delay, execution_horizon=execution_horizon, options=options
        )
        self._let_pass()
        return chunk


@dataclass
class _Record:
    commands: list[FloatArray]
    positions: list[FloatArray]
    states: list[ExecutionState] = field(default_factory=list)
    seams: list[bool] = field(default_factory=list)
    inferences_s: list[tuple[float, float]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    degradation: str = ""


class Episode:
    """Drives an executor without threads: ticks on the period, inferences in between, ticks also during inferences.

    Args:
        path: the task.
        contender: makes the policy.
        noise: of the policy.
        config: of the execution.
        delays: durations of the inferences.
    """

    def __init__(
        self,
        path: ForkedPath,
        contender: Contender,
        noise: np.random.Generator,
        config: ExecutionConfig,
        delays: DelaySequence,
    ) -> None:
        self._path = path
        self._config = config
        self._delays = delays
        self._clock = VirtualClock()
        self._period_ns = round(config.period_s * 1e9)
        self._next_tick_ns = self._period_ns
        self._arm = Arm(path.start, config.period_s)
        self._command = path.start
        self._record = _Record([path.start], [path.start])
        self._status_at_goal: ExecutionStatus | None = None  # an inference that still runs then does not count
        # Position limits only: any other would hide the jumps that are to be measured.
        limits = replace(GateLimits.unlimited(JOINTS), lower=np.full(2, -np.pi), upper=np.full(2, np.pi))
        self._executor = ChunkExecutor(
            SlowPolicy(contender.make(noise), self._let_inference_pass),
            self._observe,
            strategy=make_strategy(
                config,
                horizon=contender.horizon,
                n_action_steps=contender.horizon,
                supports_guidance=contender.supports_guidance,
            ),
            gate=Gate(limits),
            scaling=JointScaling.identity(JOINTS),
            config=config,
            monotonic_ns=self._clock.now_ns,
            stamp_now_ns=self._clock.now_ns,
        )

    def run(self) -> Trace:
        """Until the goal is reached, or :data:`TIME_LIMIT_S` is over."""
        self._executor.start(threaded=False)
        while not self._over():
            while self._executor.run_inference_once() and not self._over():  # as the thread: until nothing is wanted
                self._record.delays.append(self._executor.status().delay)
            self._advance_to(self._next_tick_ns)
        status = self._status_at_goal or self._executor.status()
        self._executor.stop(0.0)
        record = self._record
        return Trace(
            period_s=self._config.period_s,
            commands=np.stack(record.commands),
            positions=np.stack(record.positions),
            states=np.array([int(state) for state in record.states]),
            seams=np.array(record.seams),
            inferences_s=np.array(record.inferences_s).reshape(-1, 2),
            delays=tuple(record.delays),
            modes=tuple(record.modes),
            degradation=record.degradation,
            status=status,
            reached=self._path.reached(self._arm.position),
        )

    def _over(self) -> bool:
        return self._path.reached(self._arm.position) or self._clock.now_ns() * 1e-9 >= TIME_LIMIT_S

    def _observe(self) -> Observation:
        now_ns = self._clock.now_ns()
        features = {
            OBSERVATION_STATE: self._arm.position.astype(np.float32),
            OBSERVATION_ENVIRONMENT_STATE: self._path.ahead(self._arm.position),
        }
        return Observation(features, {"joint_states": now_ns}, now_ns)

    def _let_inference_pass(self) -> None:
        status, begin_ns = self._executor.status(), self._clock.now_ns()
        if status.active_mode not in self._record.modes:
            self._record.modes.append(status.active_mode)
        self._record.degradation = status.degradation or self._record.degradation
        self._advance_to(begin_ns + self._delays.next_ns())
        self._record.inferences_s.append((begin_ns * 1e-9, self._clock.now_ns() * 1e-9))

    def _advance_to(self, until_ns: int) -> None:
        """Let time pass; a tick that is due at the very end still belongs to it."""
        while self._next_tick_ns <= until_ns and not self._over():
            self._advance_clock(self._next_tick_ns)
            self._next_tick_ns += self._period_ns
            self._tick()
        self._advance_clock(until_ns)

    def _advance_clock(self, until_ns: int) -> None:
        self._clock.advance((until_ns - self._clock.now_ns()) * 1e-9)

    def _tick(self) -> None:
        tick = self._executor.tick(_FRESH, self._arm.position)
        command = tick.hold if tick.window is None else tick.window[0]
        if command is not None:
            self._command = np.array(command, dtype=np.float64)
        self._arm.follow(self._command)
        self._record.commands.append(self._command)
        self._record.positions.append(self._arm.position)
        self._record.states.append(tick.state)
        self._record.seams.append(tick.chunk is not None)
        if self._path.reached(self._arm.position):
            self._status_at_goal = self._executor.status()
