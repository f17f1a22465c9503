# SPDX-License-Identifier: Apache-2.0
"""One episode: the real executor on a virtual clock, and an arm that follows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from policy_ros.bench.execution.arm import Arm
from policy_ros.bench.execution.contenders import Contender
from policy_ros.bench.execution.delay import DelaySequence
from policy_ros.bench.execution.task import DURATION_S, JOINTS, ForkedPath
from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, JointScaling, Observation
from policy_ros.execution import (
    ALWAYS_FRESH,
    ChunkExecutor,
    ExecutionConfig,
    ExecutionState,
    ExecutionStatus,
    Gate,
    GateLimits,
    VirtualDrive,
    make_strategy,
)

FloatArray = NDArray[np.float64]

TIME_LIMIT_S = 4.0 * DURATION_S


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


@dataclass
class _Record:
    commands: list[FloatArray]
    positions: list[FloatArray]
    states: list[ExecutionState] = field(default_factory=list)
    seams: list[bool] = field(default_factory=list)


class Episode:
    """Drives an executor in virtual time, and the arm with it.

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
        self._arm = Arm(path.start, config.period_s)
        self._command = path.start
        self._record = _Record([path.start], [path.start])
        self._status_at_goal: ExecutionStatus | None = None  # an inference that still runs then does not count
        # Position limits only: any other would hide the jumps that are to be measured.
        limits = replace(GateLimits.unlimited(JOINTS), lower=np.full(2, -np.pi), upper=np.full(2, np.pi))
        self._drive = VirtualDrive(
            self,
            contender.make(noise),
            lambda _: delays.next_ns(),
            strategy=make_strategy(
                config,
                horizon=contender.horizon,
                n_action_steps=contender.horizon,
                supports_guidance=contender.supports_guidance,
            ),
            gate=Gate(limits),
            scaling=JointScaling.identity(JOINTS),
            config=config,
        )

    def run(self) -> Trace:
        """Until the goal is reached, or :data:`TIME_LIMIT_S` is over."""
        drive, record = self._drive, self._record
        drive.run()
        inferences = drive.inferences
        reasons = [inference.degradation for inference in inferences if inference.degradation]
        return Trace(
            period_s=self._config.period_s,
            commands=np.stack(record.commands),
            positions=np.stack(record.positions),
            states=np.array([int(state) for state in record.states]),
            seams=np.array(record.seams),
            inferences_s=1e-9 * np.array([(each.begin_ns, each.end_ns) for each in inferences]).reshape(-1, 2),
            delays=tuple(drive.delays),
            modes=tuple(dict.fromkeys(inference.mode for inference in inferences)),
            degradation=reasons[-1] if reasons else "",
            status=self._status_at_goal or drive.executor.status(),
            reached=self._path.reached(self._arm.position),
        )

    @property
    def over(self) -> bool:
        """At the goal, or out of time."""
        return self._path.reached(self._arm.position) or self._drive.now_ns * 1e-9 >= TIME_LIMIT_S

    def observe(self, now_ns: int) -> Observation:
        """The arm, and the way ahead of it."""
        features = {
            OBSERVATION_STATE: self._arm.position.astype(np.float32),
            OBSERVATION_ENVIRONMENT_STATE: self._path.ahead(self._arm.position),
        }
        return Observation(features, {"joint_states": now_ns}, now_ns)

    def tick(self, executor: ChunkExecutor, now_ns: int) -> None:
        """One control period: the arm goes on toward the newest command."""
        tick = executor.tick(ALWAYS_FRESH, self._arm.position)
        command = tick.hold if tick.window is None else tick.window[0]
        if command is not None:
            self._command = np.array(command, dtype=np.float64)
        self._arm.follow(self._command)
        self._record.commands.append(self._command)
        self._record.positions.append(self._arm.position)
        self._record.states.append(tick.state)
        self._record.seams.append(tick.chunk is not None)
        if self._path.reached(self._arm.position):
            self._status_at_goal = self._drive.executor.status()
