# SPDX-License-Identifier: Apache-2.0
"""Executes chunks tick by tick while the next one is computed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk, JointScaling, Observation, StreamHealth
from policy_ros.errors import ConfigurationError, ObservationError, PolicyRosError
from policy_ros.execution.assessment import Assessment
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay, is_feasible
from policy_ros.execution.delay_estimation import make_delay_estimator
from policy_ros.execution.gate import Gate, Motion
from policy_ros.execution.hold import Hold, HoldCause
from policy_ros.execution.hold_latch import HoldLatch
from policy_ros.execution.inference import (
    ChunkPolicy,
    Failed,
    Inference,
    InferenceRequest,
    Inferred,
    NotObserved,
    Outcome,
)
from policy_ros.execution.measurements import Measurements
from policy_ros.execution.ramp import Ramp
from policy_ros.execution.status import ExecutionStatus
from policy_ros.execution.strategies import Strategy
from policy_ros.execution.tick import ExecutionState, Tick
from policy_ros.execution.timeline import Timeline
from policy_ros.execution.worker import InferenceThread

_LOG = logging.getLogger(__name__)


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
        stamp_now_ns: the clock that observations are stamped with.
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
        self._gate = self._checked(gate)
        self._strategy = strategy
        self._next_strategy: Strategy | None = None
        self._monotonic_ns = monotonic_ns
        self._inference = Inference(
            policy,
            observe,
            scaling=scaling,
            horizon=strategy.shape.horizon,
            not_ready=not_ready,
            monotonic_ns=monotonic_ns,
            stamp_now_ns=stamp_now_ns,
        )
        self._condition = threading.Condition()  # guards everything below
        self._worker = InferenceThread(self.run_inference_once, self._on_internal_error, self._condition)
        self._running = False
        self._state = ExecutionState.IDLE
        self._epoch = 0
        self._timeline = Timeline(len(scaling.names))
        self._delay = MeasuredDelay(0)  # newest in this epoch
        self._expected_delay = make_delay_estimator(config)  # outlives epochs: a trait of this computer and policy
        self._guidance_weight = 0.0  # of the newest chunk
        self._assessment = Assessment(strategy.name)  # of the newest inference that was begun
        self._newest: ActionChunk | None = None  # the chunk that took over last in this epoch
        self._unreported: ActionChunk | None = None  # it took over since the previous tick
        self._in_flight: InferenceRequest | None = None
        self._not_ready = ""
        self._failures = 0  # in a row
        self._starved_ticks = 0  # in this epoch, where the strategy promises none
        self._holds = HoldLatch()
        self._motion: Motion | None = None  # as it was commanded in this epoch
        self._ramp: Ramp | None = None  # brings the robot to rest after a hold began
        self._last_command_ns: int | None = None
        self._measurements = Measurements(len(scaling.names))

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
        if threaded:
            self._worker.start()
        with self._condition:
            self._measurements = Measurements(len(self._names))
            self._holds.clear()
            self._begin_epoch()
            self._running = True
            self._state = ExecutionState.WAITING
            self._worker.notify()

    def stop(self, timeout_s: float) -> bool:
        """End this run: from now on ticks are idle and results are dropped.

        Returns False if the inference thread did not end within ``timeout_s``. It cannot be killed; it ends as soon as
        its inference returns, and ``alive`` tells when.
        """
        with self._condition:
            self._running = False
            self._state = ExecutionState.IDLE
            self._holds.clear()
            self._begin_epoch()
        return self._worker.stop(timeout_s)

    def set_gate(self, gate: Gate) -> None:
        """Use other limits, before a start.

        Raises:
            ConfigurationError: they are for other joints.
            PolicyRosError: the execution runs.
        """
        checked = self._checked(gate)
        with self._condition:
            if self._running:
                raise PolicyRosError("gate: cannot change while commands are being sent; stop() first")
            self._gate = checked

    def longest_ramp_s(self) -> float:
        """Upper bound of the time that a hold takes to bring the robot to rest [s]."""
        return self._gate.longest_ramp_s() + self._config.period_s

    def _checked(self, gate: Gate) -> Gate:
        if gate.limits.names != self._names:
            raise ConfigurationError(f"gate: expected limits for the joints {self._names}, got {gate.limits.names}")
        return gate

    # From any thread

    def hold(self, cause: HoldCause, detail: str) -> None:
        """Stop commanding from the next tick on; the most severe of several causes counts."""
        with self._condition:
            self._holds.request(Hold(cause, detail, self._timeline.step))

    def reset(self, reason: str) -> int:
        """Release any hold and begin a new epoch: nothing that was planned or is being inferred will be executed."""
        with self._condition:
            self._holds.clear()
            self._begin_epoch()
            self._worker.notify()
            _LOG.info("epoch %d: %s", self._epoch, reason)
            return self._epoch

    def set_strategy(self, strategy: Strategy) -> None:
        """Change the strategy at the next chunk boundary.

        Raises:
            ConfigurationError: it was made for chunks of another shape.
        """
        if strategy.shape != self._strategy.shape:
            raise ConfigurationError(f"strategy: expected {self._strategy.shape}, got {strategy.shape}")
        with self._condition:
            self._next_strategy = strategy
            if self._timeline.remaining == 0 and self._in_flight is None:
                self._adopt_strategy()
            self._worker.notify()

    def status(self) -> ExecutionStatus:
        """Snapshot of state and measurements."""
        seen, now_ns = self._measurements, self._monotonic_ns()
        latency, period, age = (
            window.summary(now_ns) for window in (seen.inference_latency, seen.command_period, seen.observation_age)
        )  # percentiles take a while: not under the lock
        with self._condition:
            hold, strategy, newest = self._holds.current, self._strategy, self._newest
            horizon = strategy.shape.horizon
            chosen = strategy.execution_horizon if newest is None else newest.execution_horizon
            expected = self._expected_delay.estimate() or 0
            return ExecutionStatus(
                state=self._state,
                mode=strategy.mode,
                active_mode=self._assessment.active_mode,
                degradation=self._assessment.degradation,
                hold_cause=None if hold is None else hold.cause,
                hold_detail="" if hold is None else hold.detail,
                not_ready=self._not_ready,
                epoch=self._epoch,
                step=self._timeline.step,
                chunks=seen.chunks,
                chunks_late=seen.chunks_late,
                chunks_guided=seen.chunks_guided,
                chunks_rejected=seen.chunks_rejected,
                inference_errors=seen.inference_errors,
                commands=seen.commands,
                holds=seen.holds,
                holds_after_first_chunk=seen.holds_after_first_chunk,
                queue_depth=self._timeline.remaining,
                horizon=horizon,
                execution_horizon=chosen,
                delay=self._delay.consumed,
                delay_estimate=expected,
                feasible=not strategy.gapless or is_feasible(expected, chosen, horizon),
                guidance_weight=self._guidance_weight,
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
            tick = self._tick(health, measured) if self._running else Tick(ExecutionState.IDLE, self._timeline.step)
            self._state = tick.state
            self._worker.notify()
        return tick

    def _tick(self, health: StreamHealth, measured: NDArray[np.float64] | None) -> Tick:
        self._notice_faults(health)
        requested = self._holds.take_request()
        if requested is not None:
            return self._enter_hold(requested)
        if self._ramp is not None:
            return self._go_on_braking(self._ramp)
        self._holds.release_if_over(health, self._timeline.remaining)
        if self._holds.stops_inference:
            return Tick(ExecutionState.HOLDING, self._timeline.step)
        if self._timeline.remaining == 0:
            return self._run_dry()
        return self._execute(measured)

    def _notice_faults(self, health: StreamHealth) -> None:
        step = self._timeline.step
        if health.expired:
            ages = ", ".join(f"{name} {health.ages_s.get(name, float('inf')):.3g} s old" for name in health.expired)
            self._holds.request(Hold(HoldCause.STREAM_EXPIRED, ages, step))
        if health.frozen:
            self._holds.request(Hold(HoldCause.STREAM_FROZEN, ", ".join(health.frozen), step))
        if self._in_flight is not None:
            elapsed_s = (self._monotonic_ns() - self._in_flight.started_ns) * 1e-9
            if elapsed_s > self._config.inference_timeout_s:
                limit_s = self._config.inference_timeout_s
                detail = f"expected a result within {limit_s:.3g} s, waiting for {elapsed_s:.3g} s"
                self._holds.request(Hold(HoldCause.INFERENCE_TIMEOUT, detail, step))

    def _enter_hold(self, hold: Hold) -> Tick:
        """Begin to come to rest from what was last commanded; the plan of actions is dropped.

        Where no row is left, the last window has already brought the robot to rest there: commanding it again, maybe
        much later, would break the promise of silence after a fault. Only somebody who asks for a hold gets it.
        A hold that takes the place of a milder one lets a braking that is under way go on.
        """
        self._note_hold(hold)
        motion = self._motion
        if motion is not None and self._timeline.remaining > 0:
            self._ramp = Ramp(self._gate.ramp_down(motion, self._config.period_s), motion.position)
        elif motion is not None and hold.cause.asked_for:
            self._ramp = Ramp.none(motion.position)
        ramp, step = self._ramp, self._timeline.step
        self._begin_epoch()
        if ramp is None:
            return Tick(ExecutionState.HOLDING, step)
        return self._go_on_braking(ramp)

    def _note_hold(self, hold: Hold) -> None:
        _LOG.log(
            logging.INFO if hold.cause.asked_for else logging.WARNING, "hold: %s: %s", hold.cause.value, hold.detail
        )
        if self._holds.enter(hold) and not hold.cause.asked_for:
            self._measurements.count_hold()

    def _go_on_braking(self, ramp: Ramp) -> Tick:
        """The next row of the ramp; after its last one the command to stay there, then nothing any more."""
        step = self._timeline.step
        if len(ramp.rows) == 0:
            self._ramp = None
            return Tick(ExecutionState.HOLDING, step, hold=ramp.rest)
        self._ramp = ramp.after_a_row()
        self._measurements.commands += 1
        return Tick(ExecutionState.HOLDING, step, window=ramp.rows)

    def _run_dry(self) -> Tick:
        """No row is left: normal between the chunks of some strategies, a fault where none may be missing."""
        if self._newest is None:
            return Tick(ExecutionState.WAITING, self._timeline.step)
        if self._motion is not None:
            self._motion = Motion.at_rest(self._motion.position)  # nothing moves on without a command
        if not self._strategy.gapless:
            return Tick(ExecutionState.STARVED, self._timeline.step)
        self._starved_ticks += 1
        if self._holds.current is not None:
            return Tick(ExecutionState.STARVED, self._timeline.step)
        detail = (
            f"no observation, {self._not_ready}" if self._not_ready else "the inference takes longer than the chunk"
        )
        self._note_hold(Hold(HoldCause.STARVED, detail, self._timeline.step))
        return Tick(ExecutionState.STARVED, self._timeline.step)

    def _execute(self, measured: NDArray[np.float64] | None) -> Tick:
        step = self._timeline.step
        window = self._timeline.window(step, self._config.lookahead_steps)
        verdict = self._gate.check(window, self._motion, measured, self._config.period_s)
        self._measurements.count_verdict(verdict)
        if verdict.rows is None:
            assert verdict.reason is not None  # no rows, so there is a reason
            return self._enter_hold(Hold(verdict.reason, verdict.detail, step))
        chunk, self._unreported = self._unreported, None
        if chunk is not None and self._motion is not None:
            self._measurements.seam_jump = float(np.max(np.abs(window[0] - self._motion.position)))
        self._timeline.consume()
        self._note_command(verdict.rows[0], window[0], measured)
        return Tick(ExecutionState.RUNNING, step, window=verdict.rows, chunk=chunk)

    def _note_command(
        self, row: NDArray[np.float64], wanted: NDArray[np.float32], measured: NDArray[np.float64] | None
    ) -> None:
        now_ns = self._monotonic_ns()
        if self._last_command_ns is not None:
            self._measurements.command_period.append((now_ns - self._last_command_ns) * 1e-9, now_ns)
        before = self._gate.reference(self._motion, measured)
        self._motion = Motion.at_rest(row) if before is None else before.advance(row, self._config.period_s, wanted)
        self._last_command_ns = now_ns
        self._measurements.commands += 1

    # Inference thread

    def run_inference_once(self) -> bool:
        """Do one inference if one is wanted; what the inference thread repeats. True if a chunk took over.

        Where there is no thread (replay with a virtual clock, tests), the caller decides when inferences happen.
        """
        request = self._begin_inference()
        if request is None:
            return False
        outcome = self._inference.run(request)
        with self._condition:
            self._in_flight = None
            return self._finish_inference(request, outcome)

    def _begin_inference(self) -> InferenceRequest | None:
        with self._condition:
            if not self._running or self._holds.stops_inference:
                return None
            strategy, timeline, newest = self._strategy, self._timeline, self._newest
            expected = self._expected_delay.estimate()
            if not strategy.wants_inference(timeline, newest, expected or 0):
                return None
            horizon = strategy.execution_horizon if newest is None else timeline.step - newest.first_step
            if expected is None:  # nothing measured yet: as cautious as can be
                expected = max(0, min(horizon, strategy.shape.horizon - horizon))
            self._note(strategy.assess(expected, horizon))
            guides = self._assessment.active_mode == strategy.name
            self._in_flight = InferenceRequest(
                epoch=self._epoch,
                first_step=timeline.step,
                execution_horizon=horizon,
                starved=self._starved_ticks,
                started_ns=self._monotonic_ns(),
                guidance=strategy.guidance(timeline, expected, horizon) if guides else None,
            )
            return self._in_flight

    def _note(self, assessment: Assessment) -> None:
        """Keep the assessment of the inference that begins, and say when what acts has changed."""
        before, self._assessment = self._assessment.active_mode, assessment
        if assessment.active_mode == before:
            return
        if assessment.degradation:
            _LOG.warning("%s instead of %s: %s", assessment.active_mode, self._strategy.mode, assessment.degradation)
        else:
            _LOG.info("%s acts", assessment.active_mode)

    def _finish_inference(self, request: InferenceRequest, outcome: Outcome) -> bool:
        if isinstance(outcome, Failed):
            self._count_failure(outcome)
        if request.epoch != self._epoch or not self._running:
            self._measurements.chunks_late += isinstance(outcome, Inferred)
            return False
        self._not_ready = outcome.reason if isinstance(outcome, NotObserved) else ""
        if isinstance(outcome, Failed):
            self._fail(outcome)
        return isinstance(outcome, Inferred) and self._take_over(request, outcome)

    def _count_failure(self, failed: Failed) -> None:
        if failed.cause is HoldCause.POLICY_FAILED:
            self._measurements.inference_errors += 1
        else:
            self._measurements.chunks_rejected += 1

    def _fail(self, failed: Failed) -> None:
        """Drop the chunk; the rows that are left may still be executed, unless it happened too often in a row."""
        self._failures += 1
        if self._failures >= self._config.max_consecutive_errors:
            detail = f"{self._failures} times in a row, last: {failed.detail}"
            self._holds.request(Hold(failed.cause, detail, self._timeline.step))

    def _take_over(self, request: InferenceRequest, inferred: Inferred) -> bool:
        """Swap the chunk at once; the delay is what was consumed since its observation."""
        seen, now_ns = self._measurements, self._monotonic_ns()
        self._failures = 0
        seen.inference_latency.append(inferred.inference_s, now_ns)
        seen.observation_age.append(inferred.observation_age_s, now_ns)
        delay = MeasuredDelay(self._timeline.step - request.first_step, self._starved_ticks - request.starved)
        chunk = self._make_chunk(request, inferred, delay)
        if chunk.end_step > self._timeline.step:
            self._strategy.merge(self._timeline, chunk)
        if self._timeline.remaining == 0:  # all its rows have passed
            seen.chunks_late += 1
            return False
        if not self._warms_up(request):
            self._expected_delay.record(delay)
        self._delay = delay
        self._guidance_weight = 0.0 if request.guidance is None else request.guidance.options.max_weight
        seen.chunks += 1
        seen.chunks_guided += chunk.guided
        self._newest = self._unreported = chunk
        self._adopt_strategy()
        return True

    def _warms_up(self, request: InferenceRequest) -> bool:
        """Whether an inference says nothing about those to come.

        During the first of an epoch nothing is consumed; the first guided one of a run may compile and fill caches.
        """
        return self._newest is None or (request.guidance is not None and self._measurements.chunks_guided == 0)

    def _make_chunk(self, request: InferenceRequest, inferred: Inferred, delay: MeasuredDelay) -> ActionChunk:
        return ActionChunk(
            actions=inferred.actions,
            first_step=request.first_step,
            epoch=request.epoch,
            sequence=self._measurements.chunks,
            execution_horizon=request.execution_horizon,
            delay_steps=delay.consumed,
            observation_stamps_ns=inferred.observation.stamps_ns,
            inference_s=inferred.inference_s,
            guided=request.guidance is not None,
        )

    def _on_internal_error(self, error: Exception) -> None:
        _LOG.error("inference loop failed", exc_info=error)
        self.hold(HoldCause.INTERNAL_ERROR, f"inference loop: {type(error).__name__}: {error}")

    # Epochs

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._timeline.clear()
        self._delay = MeasuredDelay(0)
        self._guidance_weight = 0.0
        self._newest = self._unreported = None
        self._motion = self._ramp = None
        self._last_command_ns = None
        self._failures = self._starved_ticks = 0
        self._not_ready = ""
        self._adopt_strategy()
        self._strategy.reset()

    def _adopt_strategy(self) -> None:
        if self._next_strategy is not None:
            self._strategy, self._next_strategy = self._next_strategy, None
            self._strategy.reset()
            self._assessment = Assessment(self._strategy.name)
