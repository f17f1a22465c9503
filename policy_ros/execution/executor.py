# SPDX-License-Identifier: Apache-2.0
"""Executes chunks tick by tick while the next one is computed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import JointScaling, Observation, StreamHealth
from policy_ros.errors import ConfigurationError, ObservationError, PolicyRosError
from policy_ros.execution.added_delay import AddedDelay
from policy_ros.execution.assessment import Assessment
from policy_ros.execution.commanding import Commander
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import is_feasible
from policy_ros.execution.gate import Gate
from policy_ros.execution.hold import Hold, HoldCause
from policy_ros.execution.inference import (
    ChunkPolicy,
    Inference,
)
from policy_ros.execution.progress import Progress
from policy_ros.execution.scheduling import Scheduler
from policy_ros.execution.status import ExecutionStatus
from policy_ros.execution.strategies import Strategy
from policy_ros.execution.succession import Succession
from policy_ros.execution.successor import Successor
from policy_ros.execution.tick import ExecutionState, Tick
from policy_ros.execution.worker import InferenceThread

_LOG = logging.getLogger(__name__)


class Planning(NamedTuple):
    """Where the execution is.

    Attributes:
        epoch: as in :class:`ExecutionStatus`.
        step: rows consumed in this epoch.
        delay: d, measured for the newest chunk of this epoch [steps].
        assessment: what acts since the newest inference was begun, and why that is not the mode.
    """

    epoch: int
    step: int
    delay: int
    assessment: Assessment


class ChunkExecutor:
    """The timeline of actions, shared by the control thread (``tick``) and the inference thread under one lock.

    The schedule is Algorithm 1 of Black, Galliker, Levine, arXiv 2506.07339: every tick notifies the inference thread,
    which infers without the lock and swaps the chunk on return. Delays are counts of consumed steps.

    Args:
        policy: touched by the inference thread only, reset at the beginning of every epoch.
        observe: called on the inference thread; raises ``not_ready`` while no observation can be had.
        strategy: when to infer and how chunks join.
        gate: every row passes it before it is returned.
        scaling: from units of the checkpoint to robot units; its names give A.
        config: rates and bounds.
        not_ready: exception of ``observe`` that means waiting; any other is a failure.
        monotonic_ns: measures durations.
        stamp_now_ns: the clock that observations are stamped with and the robot moves by.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        observe: Callable[[], Observation],
        *,
        strategy: Strategy,
        gate: Gate,
        scaling: JointScaling,
        config: ExecutionConfig,
        not_ready: type[Exception] = ObservationError,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        stamp_now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config = config
        self._names = scaling.names
        self._monotonic_ns = monotonic_ns
        self._added_delay = AddedDelay(config.added_delay_s)
        self._inference = Inference(
            policy,
            observe,
            scaling=scaling,
            horizon=strategy.shape.horizon,
            not_ready=not_ready,
            monotonic_ns=monotonic_ns,
            stamp_now_ns=stamp_now_ns,
            added_delay=self._added_delay,
        )
        self._condition = threading.Condition()  # guards everything below
        self._worker = InferenceThread(self.run_inference_once, self._on_internal_error, self._condition)
        self._state = ExecutionState.IDLE
        self._progress = Progress(strategy, config, len(scaling.names))
        self._commander = Commander(self._progress, self._checked(gate), config, monotonic_ns, stamp_now_ns)
        self._succession = Succession(self._progress, self._inference, config, monotonic_ns)
        self._scheduler = Scheduler(self._progress, self._succession, config, monotonic_ns)

    # Life cycle

    @property
    def alive(self) -> bool:
        """Whether the inference thread runs, be it that it hangs in the policy."""
        return self._worker.alive

    def start(self, *, threaded: bool = True) -> None:
        """Begin a new epoch and start inferring. Without a thread, somebody has to call ``run_inference_once``.

        Raises:
            PolicyRosError: the inference of an earlier run has not returned yet.
        """
        self._worker.require_ended()
        with self._condition:
            self._succession.take_over_at_rest()
        if threaded:
            self._worker.start()
        self._added_delay.begin()
        with self._condition:
            self._progress.begin_run(len(self._names))
            self._state = ExecutionState.WAITING
            self._worker.notify()

    def stop(self, timeout_s: float) -> bool:
        """End this run: from now on ticks are idle and results are dropped.

        Returns False if the inference thread did not end within ``timeout_s``. It cannot be killed; it ends as soon as
        its inference returns, and ``alive`` tells when.
        """
        with self._condition:
            self._progress.end_run()
            self._state = ExecutionState.IDLE
        self._added_delay.end()
        ended = self._worker.stop(timeout_s)
        if ended:
            with self._condition:
                self._succession.take_over_at_rest()
        return ended

    def set_gate(self, gate: Gate) -> None:
        """Use other limits, before a start.

        Raises:
            ConfigurationError: they are for other joints.
            PolicyRosError: the execution runs.
        """
        checked = self._checked(gate)
        with self._condition:
            if self._progress.running:
                raise PolicyRosError("gate: cannot change while commands are being sent; stop() first")
            self._commander.gate = checked

    def longest_ramp_s(self) -> float:
        """Upper bound of the time that a hold takes to bring the robot to rest [s]."""
        return self._commander.gate.longest_ramp_s() + self._config.period_s

    def _checked(self, gate: Gate) -> Gate:
        if gate.limits.names != self._names:
            raise ConfigurationError(f"gate: expected limits for the joints {self._names}, got {gate.limits.names}")
        return gate

    # From any thread

    def hold(self, cause: HoldCause, detail: str) -> None:
        """Stop commanding from the next tick on; the most severe of several causes counts."""
        with self._condition:
            self._progress.holds.request(Hold(cause, detail, self._progress.timeline.step))

    def reset(self, reason: str) -> int:
        """Release any hold and begin a new epoch: nothing that was planned or is being inferred will be executed."""
        with self._condition:
            self._progress.holds.clear()
            self._progress.begin_epoch()
            self._worker.notify()
            _LOG.info("epoch %d: %s", self._progress.epoch, reason)
            return self._progress.epoch

    def set_strategy(self, strategy: Strategy) -> None:
        """Change the strategy at the next chunk boundary.

        Raises:
            ConfigurationError: it was made for chunks of another shape.
        """
        if strategy.shape != self._progress.strategy.shape:
            raise ConfigurationError(f"strategy: expected {self._progress.strategy.shape}, got {strategy.shape}")
        with self._condition:
            self._progress.change_strategy(strategy)
            self._worker.notify()

    def succeed(self, successor: Successor) -> None:
        """Let another policy take over at the next chunk boundary, in a new epoch, while the robot moves on.

        It takes the place of a successor that still waits. While nothing is executed it takes over at once.
        """
        with self._condition:
            self._succession.offer(successor)
            if not self._progress.running and not self._worker.alive:
                self._succession.take_over_at_rest()
            self._worker.notify()

    def withdraw(self, successor: Successor) -> bool:
        """Take a successor back; False if it has taken over, failed or was replaced already."""
        with self._condition:
            return self._succession.withdraw(successor)

    @property
    def successor(self) -> Successor | None:
        """Who waits to take over."""
        with self._condition:
            return self._succession.waiting

    def set_added_delay(self, seconds: float) -> None:
        """Make the inferences to come last so much longer than the policy takes [s]; for tests and demonstrations."""
        self._added_delay.seconds = seconds

    @property
    def hold_in_force(self) -> Hold | None:
        """Why the robot holds, or why it has no row where none may be missing; None if it does neither."""
        with self._condition:
            return self._progress.holds.current

    @property
    def planning(self) -> Planning:
        """What the newest inference was begun with; cheaper than :meth:`status`, which has percentiles."""
        with self._condition:
            progress = self._progress
            return Planning(progress.epoch, progress.timeline.step, progress.delay.consumed, progress.assessment)

    def status(self) -> ExecutionStatus:
        """Snapshot of state and measurements."""
        progress, now_ns = self._progress, self._monotonic_ns()
        seen = progress.measurements
        latency, period, age = (
            window.summary(now_ns) for window in (seen.inference_latency, seen.command_period, seen.observation_age)
        )  # percentiles take a while: not under the lock
        with self._condition:
            hold, strategy, newest = progress.holds.current, progress.strategy, progress.newest
            horizon = strategy.shape.horizon
            chosen = strategy.execution_horizon if newest is None else newest.execution_horizon
            expected = progress.expected_delay.estimate() or 0
            return ExecutionStatus(
                state=self._state,
                mode=strategy.mode,
                active_mode=progress.assessment.active_mode,
                degradation=progress.assessment.degradation,
                hold_cause=None if hold is None else hold.cause,
                hold_detail="" if hold is None else hold.detail,
                not_ready=progress.not_ready,
                epoch=progress.epoch,
                step=progress.timeline.step,
                chunks=seen.chunks,
                chunks_late=seen.chunks_late,
                chunks_guided=seen.chunks_guided,
                chunks_rejected=seen.chunks_rejected,
                inference_errors=seen.inference_errors,
                commands=seen.commands,
                holds=seen.holds,
                holds_after_first_chunk=seen.holds_after_first_chunk,
                queue_depth=progress.timeline.remaining,
                horizon=horizon,
                execution_horizon=chosen,
                delay=progress.delay.consumed,
                delay_estimate=expected,
                feasible=not strategy.gapless or is_feasible(expected, chosen, horizon),
                guidance_weight=progress.guidance_weight,
                inference_latency=latency,
                command_period=period,
                observation_age=age,
                gate_clamped=seen.gate_clamped,
                gate_rejected=seen.gate_rejected,
                joint_clamped=tuple(int(count) for count in seen.joint_clamped),
                joint_rejected=tuple(int(count) for count in seen.joint_rejected),
                seam_jump=seen.seam_jump,
                inference_alive=self._worker.alive,
            )

    # Control thread

    def tick(self, health: StreamHealth, measured: NDArray[np.float64] | None) -> Tick:
        """One control step: consume the row that is due, or hold. Never waits for an inference.

        Args:
            health: freshness of the input streams now.
            measured: ``(A,)`` measured positions, NaN for joints that are not measured; None: nothing is measured.
        """
        with self._condition:
            if self._progress.running:
                tick = self._commander.tick(health, measured)
            else:
                tick = Tick(ExecutionState.IDLE, self._progress.timeline.step)
            self._state = tick.state
            self._worker.notify()
        return tick

    # Inference thread

    def run_inference_once(self) -> bool:
        """Do one inference if one is wanted; what the inference thread repeats. True if a chunk took over.

        Where there is no thread (replay with a virtual clock, tests), the caller decides when inferences happen.
        """
        with self._condition:
            request = self._scheduler.begin()
        if request is None:
            return False
        outcome = self._inference.run(request)
        with self._condition:
            return self._scheduler.finish(request, outcome)

    def _on_internal_error(self, error: Exception) -> None:
        _LOG.error("inference loop failed", exc_info=error)
        self.hold(HoldCause.INTERNAL_ERROR, f"inference loop: {type(error).__name__}: {error}")
