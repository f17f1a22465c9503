# SPDX-License-Identifier: Apache-2.0
"""An executor in virtual time: inferences take as long as they are told to, on one thread, the same every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import JointScaling, Observation, StreamHealth
from policy_ros.execution.clock import VirtualClock
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.executor import ChunkExecutor
from policy_ros.execution.gate import Gate
from policy_ros.execution.inference import ChunkPolicy, GuidedPolicy
from policy_ros.execution.strategies import Strategy
from policy_ros.execution.tick import Tick
from policy_ros.rtc import GuidanceOptions

Features = Mapping[str, NDArray[Any] | str]

_FRESH = StreamHealth(ages_s={"joint_states": 0.0})


class VirtualRobot(Protocol):
    """What is driven: it moves only when it is told to."""

    @property
    def over(self) -> bool:
        """Whether the episode is."""
        ...

    @property
    def measured(self) -> NDArray[np.float64] | None:
        """``(A,)`` positions now, robot units; None: nothing is measured."""
        ...

    def observe(self, now_ns: int) -> Observation:
        """What is seen now."""
        ...

    def follow(self, tick: Tick) -> None:
        """Move on for one control period as commanded."""
        ...


@dataclass(frozen=True)
class InferenceTrace:
    """One inference.

    Attributes:
        begin_ns, end_ns: virtual time.
        mode: what acted when it began.
        degradation: why that is not the mode that was chosen, empty where it is.
    """

    begin_ns: int
    end_ns: int
    mode: str
    degradation: str


class VirtualDrive:
    """Ticks on the period, inferences in between, and the ticks that are due while an inference lasts.

    Args:
        robot: is moved by the ticks.
        policy: computes at once; its chunk arrives when the inference is over.
        inference_ns: how long the next inference takes [ns].
        strategy, gate, scaling, config: as for :class:`ChunkExecutor`.

    Attributes:
        executor: what is driven.
        inferences: those that came to a result, in order.
        delays: measured delay of each chunk that took over before the episode was over [steps].
    """

    def __init__(
        self,
        robot: VirtualRobot,
        policy: ChunkPolicy,
        inference_ns: Callable[[], int],
        *,
        strategy: Strategy,
        gate: Gate,
        scaling: JointScaling,
        config: ExecutionConfig,
    ) -> None:
        self.inferences: list[InferenceTrace] = []
        self.delays: list[int] = []
        self._robot = robot
        self._inference_ns = inference_ns
        self._clock = VirtualClock()
        self._period_ns = round(config.period_s * 1e9)
        self._next_tick_ns = self._period_ns
        self._failure: Exception | None = None
        self.executor = ChunkExecutor(
            _SlowPolicy(policy, self._let_inference_pass, self._fail),
            self._observe,
            strategy=strategy,
            gate=gate,
            scaling=scaling,
            config=config,
            monotonic_ns=self._clock.now_ns,
            stamp_now_ns=self._clock.now_ns,
        )

    @property
    def now_ns(self) -> int:
        """Virtual time since the start."""
        return self._clock.now_ns()

    def run(self) -> None:
        """From the start until the robot says that it is over.

        What the policy or the observation raises is raised here: an executor would hold the robot and go on.
        """
        self.executor.start(threaded=False)
        while not self._robot.over:
            while self._infer() and not self._robot.over:  # as the thread: until none is wanted
                self.delays.append(self.executor.status().delay)
            self._advance_to(self._next_tick_ns)

    def _infer(self) -> bool:
        took_over = self.executor.run_inference_once()
        if self._failure is not None:
            raise self._failure
        return took_over

    def _fail(self, error: Exception) -> None:
        self._failure = error

    def _observe(self) -> Observation:
        try:
            return self._robot.observe(self.now_ns)
        except Exception as error:
            self._fail(error)
            raise

    def _let_inference_pass(self) -> None:
        status, begin_ns = self.executor.status(), self.now_ns
        self._advance_to(begin_ns + self._inference_ns())
        self.inferences.append(InferenceTrace(begin_ns, self.now_ns, status.active_mode, status.degradation))

    def _advance_to(self, until_ns: int) -> None:
        """Let time pass; a tick that is due at the very end still belongs to it."""
        while self._next_tick_ns <= until_ns and not self._robot.over:
            self._advance_clock(self._next_tick_ns)
            self._next_tick_ns += self._period_ns
            self._robot.follow(self.executor.tick(_FRESH, self._robot.measured))
        self._advance_clock(until_ns)

    def _advance_clock(self, until_ns: int) -> None:
        self._clock.advance((until_ns - self.now_ns) * 1e-9)


class _SlowPolicy:
    """Computes at once, then lets time pass before it returns: an inference beside which the robot goes on."""

    def __init__(self, policy: ChunkPolicy, let_pass: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._policy = policy
        self._let_pass = let_pass
        self._failed = failed

    def reset(self) -> None:
        self._policy.reset()

    def predict(self, observation: Features, /) -> NDArray[np.float32]:
        return self._compute(lambda: self._policy.predict(observation))

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
        guided = cast(GuidedPolicy, self._policy)  # the executor asks for guidance only where the policy declares it
        return self._compute(
            lambda: guided.guided_inference(
                observation, prefix=prefix, delay=delay, execution_horizon=execution_horizon, options=options
            )
        )

    def _compute(self, infer: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        try:
            chunk = infer()
            self._let_pass()
        except Exception as error:
            self._failed(error)
            raise
        return chunk
