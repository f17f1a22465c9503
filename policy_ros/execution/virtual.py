# SPDX-License-Identifier: Apache-2.0
"""An executor in virtual time: inferences take as long as they are told to, on one thread, the same every time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import JointScaling, Observation, StreamHealth
from policy_ros.errors import ObservationError
from policy_ros.execution.clock import VirtualClock
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.executor import ChunkExecutor
from policy_ros.execution.gate import Gate
from policy_ros.execution.inference import ChunkPolicy, GuidedPolicy
from policy_ros.execution.strategies import Strategy
from policy_ros.rtc import GuidanceOptions

_NEVER = threading.Event()
Features = Mapping[str, NDArray[Any] | str]

ALWAYS_FRESH = StreamHealth(ages_s={"joint_states": 0.0})  # of sensors that never fail


class VirtualRobot(Protocol):
    """What is driven: it moves only when it is told to."""

    @property
    def over(self) -> bool:
        """Whether the episode is."""
        ...

    def observe(self, now_ns: int) -> Observation:
        """What is seen now; :class:`ObservationError` if nothing can be, and it is tried again after the next tick."""
        ...

    def tick(self, executor: ChunkExecutor, now_ns: int) -> None:
        """One control period: ask the executor what to command (``executor.tick``), and move on."""
        ...


@dataclass(frozen=True, eq=False)
class InferenceTrace:
    """One inference.

    Attributes:
        begin_ns, end_ns: virtual time.
        epoch, first_step: of the execution when it began.
        mode: what acted when it began.
        degradation: why that is not the mode that was chosen, empty where it is.
        guided: whether the policy was guided to continue the chunk before.
        actions: ``(H, A)`` that the policy answered, in its units.
        compute_s: what observing and the policy took here, in real time [s].
    """

    begin_ns: int
    end_ns: int
    epoch: int
    first_step: int
    mode: str
    degradation: str
    guided: bool
    actions: NDArray[np.float32]
    compute_s: float


class VirtualDrive:
    """Ticks on the period, inferences in between, and the ticks that are due while an inference lasts.

    Args:
        robot: is moved by the ticks.
        policy: computes at once; its chunk arrives when the inference is over.
        inference_ns: how long the next inference takes [ns], from what it took here in real time [s].
        strategy, gate, scaling, config: as for :class:`ChunkExecutor`.
        start_ns: virtual time at the start [ns].
        forgiving: what the policy raises is the executor's affair, which drops the chunk and holds if it goes on. It
            is raised by :meth:`run` otherwise.

    Attributes:
        executor: what is driven.
        inferences: those that came to a result, in order.
        delays: measured delay of each chunk that took over before the episode was over [steps].
    """

    def __init__(
        self,
        robot: VirtualRobot,
        policy: ChunkPolicy,
        inference_ns: Callable[[float], int],
        *,
        strategy: Strategy,
        gate: Gate,
        scaling: JointScaling,
        config: ExecutionConfig,
        start_ns: int = 0,
        forgiving: bool = False,
    ) -> None:
        self.inferences: list[InferenceTrace] = []
        self.delays: list[int] = []
        self._robot = robot
        self._inference_ns = inference_ns
        self._clock = VirtualClock(start_ns)
        self._start_ns, self._period_s, self._ticks = start_ns, config.period_s, 1
        self._forgiving = forgiving
        self._observing_began_s = 0.0
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
        """Virtual time."""
        return self._clock.now_ns()

    @property
    def _next_tick_ns(self) -> int:
        """Worked out anew for each tick, so that no rounding adds up."""
        return self._start_ns + round(self._ticks * self._period_s * 1e9)

    def run(self) -> None:
        """From the start until the robot says that it is over.

        What the policy or the observation raises is raised here, unless the drive is forgiving: an executor would drop
        the chunk, and hold the robot if it goes on.
        """
        self.executor.start(threaded=False)
        while not self._robot.over:
            while self._infer() and not self._robot.over:  # as the thread: until none is wanted
                self.delays.append(self.executor.planning.delay)
            self._advance_to(self._next_tick_ns)

    def _infer(self) -> bool:
        took_over = self.executor.run_inference_once()
        if self._failure is not None:
            raise self._failure
        return took_over

    def _fail(self, error: Exception) -> None:
        if not self._forgiving:
            self._failure = error

    def _observe(self) -> Observation:
        self._observing_began_s = time.perf_counter()
        try:
            return self._robot.observe(self.now_ns)
        except ObservationError:
            raise
        except Exception as error:
            self._fail(error)
            raise

    def _let_inference_pass(self, actions: NDArray[np.float32], guided: bool) -> None:
        compute_s = time.perf_counter() - self._observing_began_s
        planning, begin_ns = self.executor.planning, self.now_ns
        self._advance_to(begin_ns + self._inference_ns(compute_s))
        self.inferences.append(
            InferenceTrace(
                begin_ns,
                self.now_ns,
                planning.epoch,
                planning.step,
                planning.assessment.active_mode,
                planning.assessment.degradation,
                guided,
                actions,
                compute_s,
            )
        )

    def _advance_to(self, until_ns: int) -> None:
        """Let time pass; a tick that is due at the very end still belongs to it."""
        while self._next_tick_ns <= until_ns and not self._robot.over:
            self._clock.wait_until(self._next_tick_ns, _NEVER)
            self._ticks += 1
            self._robot.tick(self.executor, self.now_ns)
        self._clock.wait_until(until_ns, _NEVER)


class _SlowPolicy:
    """Computes at once, then lets time pass before it returns: an inference beside which the robot goes on."""

    def __init__(
        self,
        policy: ChunkPolicy,
        let_pass: Callable[[NDArray[np.float32], bool], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._policy = policy
        self._let_pass = let_pass
        self._failed = failed

    def reset(self) -> None:
        self._policy.reset()

    def predict(self, observation: Features, /) -> NDArray[np.float32]:
        return self._compute(lambda: self._policy.predict(observation), guided=False)

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
            ),
            guided=True,
        )

    def _compute(self, infer: Callable[[], NDArray[np.float32]], *, guided: bool) -> NDArray[np.float32]:
        try:
            chunk = infer()
            self._let_pass(chunk, guided)
        except Exception as error:
            self._failed(error)
            raise
        return chunk
