# SPDX-License-Identifier: Apache-2.0
"""The control thread's part of the execution: one step per tick, or a hold."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import StreamHealth
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.gate import Gate, Motion
from policy_ros.execution.hold import Hold, HoldCause
from policy_ros.execution.progress import Progress
from policy_ros.execution.ramp import Ramp
from policy_ros.execution.tick import ExecutionState, Tick

_LOG = logging.getLogger(__name__)


class Commander:
    """Decides on every tick what is commanded. Called with the executor's lock held.

    Args:
        progress: shared with the inference thread's part.
        gate: every row passes it.
        config: rates and bounds.
        monotonic_ns: measures durations.
        robot_now_ns: the clock that the robot moves by, which may be simulated.

    Attributes:
        gate: may be exchanged between two runs.
    """

    def __init__(
        self,
        progress: Progress,
        gate: Gate,
        config: ExecutionConfig,
        monotonic_ns: Callable[[], int],
        robot_now_ns: Callable[[], int],
    ) -> None:
        self.gate = gate
        self._progress = progress
        self._config = config
        self._monotonic_ns = monotonic_ns
        self._robot_now_ns = robot_now_ns
        self._last_tick_ns: int | None = None

    def tick(self, health: StreamHealth, measured: NDArray[np.float64] | None) -> Tick:
        """Consume the row that is due, or hold; see :meth:`ChunkExecutor.tick`."""
        progress = self._progress
        self._notice_stall()
        self._notice_faults(health)
        requested = progress.holds.take_request()
        if requested is not None:
            return self._enter_hold(requested)
        if progress.ramp is not None:
            return self._go_on_braking(progress.ramp)
        progress.holds.release_if_over(health, progress.timeline.remaining)
        if progress.holds.stops_inference:
            return Tick(ExecutionState.HOLDING, progress.timeline.step)
        if progress.timeline.remaining == 0:
            return self._run_dry()
        return self._execute(measured)

    def _notice_stall(self) -> None:
        """Ticks were missing for longer than a command lasts: the robot stands at the end of the last one.

        To go on with the plan, or to brake from a motion that is over, would move it back to where it has been, and
        maybe long after a fault. So the plan is void, and nothing is commanded before there is a new one.
        """
        before_ns, self._last_tick_ns = self._last_tick_ns, self._robot_now_ns()
        progress = self._progress
        moving = progress.ramp is not None or (progress.motion is not None and progress.timeline.remaining > 0)
        if before_ns is None or not moving:
            return
        missing_s = (self._last_tick_ns - before_ns) * 1e-9
        if missing_s > self._config.command_s:
            _LOG.warning(
                "no control tick for %.3g s, a command lasts %.3g s: planning anew", missing_s, self._config.command_s
            )
            progress.begin_epoch()

    def _notice_faults(self, health: StreamHealth) -> None:
        progress = self._progress
        step = progress.timeline.step
        if health.expired:
            ages = ", ".join(f"{name} {health.ages_s.get(name, float('inf')):.3g} s old" for name in health.expired)
            progress.holds.request(Hold(HoldCause.STREAM_EXPIRED, ages, step))
        if health.frozen:
            progress.holds.request(Hold(HoldCause.STREAM_FROZEN, ", ".join(health.frozen), step))
        if progress.in_flight is not None:
            elapsed_s = (self._monotonic_ns() - progress.in_flight.started_ns) * 1e-9
            if elapsed_s > self._config.inference_timeout_s:
                limit_s = self._config.inference_timeout_s
                detail = f"expected a result within {limit_s:.3g} s, waiting for {elapsed_s:.3g} s"
                progress.holds.request(Hold(HoldCause.INFERENCE_TIMEOUT, detail, step))

    def _enter_hold(self, hold: Hold) -> Tick:
        """Begin to come to rest from what was last commanded; the plan of actions is dropped.

        Where no row is left, the last window has already brought the robot to rest there: commanding it again, maybe
        much later, would break the promise of silence after a fault. Only somebody who asks for a hold gets it.
        A hold that takes the place of a milder one lets a braking that is under way go on.
        """
        progress = self._progress
        self._note_hold(hold)
        motion = progress.motion
        if motion is not None and progress.timeline.remaining > 0:
            progress.ramp = Ramp(self.gate.ramp_down(motion, self._config.period_s), motion.position)
        elif motion is not None and hold.cause.asked_for:
            progress.ramp = Ramp.none(motion.position)
        ramp, step = progress.ramp, progress.timeline.step
        progress.begin_epoch()
        if ramp is None:
            return Tick(ExecutionState.HOLDING, step)
        return self._go_on_braking(ramp)

    def _note_hold(self, hold: Hold) -> None:
        _LOG.log(
            logging.INFO if hold.cause.asked_for else logging.WARNING, "hold: %s: %s", hold.cause.value, hold.detail
        )
        if self._progress.holds.enter(hold) and not hold.cause.asked_for:
            self._progress.measurements.count_hold()

    def _go_on_braking(self, ramp: Ramp) -> Tick:
        """The next row of the ramp; after its last one the command to stay there, then nothing any more."""
        progress = self._progress
        step = progress.timeline.step
        if len(ramp.rows) == 0:
            progress.ramp = None
            return Tick(ExecutionState.HOLDING, step, hold=ramp.rest)
        progress.ramp = ramp.after_a_row()
        progress.measurements.commands += 1
        return Tick(ExecutionState.HOLDING, step, window=ramp.rows)

    def _run_dry(self) -> Tick:
        """No row is left: normal between the chunks of some strategies, a fault where none may be missing."""
        progress = self._progress
        if progress.newest is None:
            return Tick(ExecutionState.WAITING, progress.timeline.step)
        if progress.motion is not None:
            progress.motion = Motion.at_rest(progress.motion.position)  # nothing moves on without a command
        if not progress.strategy.gapless:
            return Tick(ExecutionState.STARVED, progress.timeline.step)
        progress.starved_ticks += 1
        if progress.holds.current is not None:
            return Tick(ExecutionState.STARVED, progress.timeline.step)
        detail = (
            f"no observation, {progress.not_ready}"
            if progress.not_ready
            else "the inference takes longer than the chunk"
        )
        self._note_hold(Hold(HoldCause.STARVED, detail, progress.timeline.step))
        return Tick(ExecutionState.STARVED, progress.timeline.step)

    def _execute(self, measured: NDArray[np.float64] | None) -> Tick:
        progress = self._progress
        step = progress.timeline.step
        window = progress.timeline.window(step, self._config.lookahead_steps)
        verdict = self.gate.check(window, progress.motion, measured, self._config.period_s)
        progress.measurements.count_verdict(verdict)
        if verdict.rows is None:
            assert verdict.reason is not None  # no rows, so there is a reason
            return self._enter_hold(Hold(verdict.reason, verdict.detail, step))
        chunk, progress.unreported = progress.unreported, None
        if chunk is not None and progress.motion is not None:
            progress.measurements.seam_jump = float(np.max(np.abs(window[0] - progress.motion.position)))
        progress.timeline.consume()
        self._note_command(verdict.rows[0], window[0], measured)
        return Tick(ExecutionState.RUNNING, step, window=verdict.rows, chunk=chunk, clamped=verdict.changed[0])

    def _note_command(
        self, row: NDArray[np.float64], wanted: NDArray[np.float32], measured: NDArray[np.float64] | None
    ) -> None:
        progress = self._progress
        now_ns = self._monotonic_ns()
        if progress.last_command_ns is not None:
            progress.measurements.command_period.append((now_ns - progress.last_command_ns) * 1e-9, now_ns)
        before = self.gate.reference(progress.motion, measured)
        progress.motion = Motion.at_rest(row) if before is None else before.advance(row, self._config.period_s, wanted)
        progress.last_command_ns = now_ns
        progress.measurements.commands += 1
