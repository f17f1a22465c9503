# SPDX-License-Identifier: Apache-2.0
"""The control ticks of a node, worked out again from the chunks that it published.

A dry run publishes no commands. But which chunk took over when is known, and how chunks join and pass the gate is
what the execution's own strategy, timeline and gate say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk
from policy_ros.execution import ExecutionState, Gate, Strategy
from policy_ros.execution.gate import Motion
from policy_ros.execution.timeline import Timeline
from policy_ros.replay.trace import NO_CHUNK
from policy_ros.ros.replay.values import HeardChunk

Row = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WorkedOutTick:
    """One control tick.

    Attributes:
        command: ``(A,)`` behind the gate; NaN where nothing would have been commanded.
        clamped: ``(A,)`` what the gate changed.
        chunk: index of the newest chunk that acted, or NO_CHUNK.
    """

    t_ns: int
    state: ExecutionState
    command: Row
    clamped: NDArray[np.bool_]
    chunk: int


@dataclass(frozen=True)
class HeldPeriod:
    """From when to when the node held, not counting waiting for a chunk."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class _Stretch:
    """Ticks from one chunk to the next.

    Attributes:
        times_ns: of the ticks.
        rows: how many of them executed a row, the first ones; None: as many as there are rows.
    """

    times_ns: tuple[int, ...]
    rows: int | None


class Reconstruction:
    """Drives a timeline by the chunks of one activation.

    Args:
        strategy: as the node's, of its own.
        gate: as the node's.
        period_ns: of the control [ns].
        joints: A.
        lookahead: rows that pass the gate together.
        measured: positions ``(A,)`` at a moment, NaN where unknown.
    """

    def __init__(
        self,
        strategy: Strategy,
        gate: Gate,
        *,
        period_ns: int,
        joints: int,
        lookahead: int,
        measured: Callable[[int], Row],
    ) -> None:
        self._strategy = strategy
        self._gate = gate
        self._period_ns = period_ns
        self._lookahead = lookahead
        self._measured = measured
        self._nothing = np.full(joints, np.nan)
        self._unclamped = np.zeros(joints, dtype=np.bool_)
        self._timeline = Timeline(joints)
        self._begin_epoch(None)

    def ticks(
        self,
        chunks: Sequence[HeardChunk],
        guided: Sequence[bool],
        holds: Sequence[HeldPeriod],
        begin_ns: int,
        stop_ns: int,
    ) -> list[WorkedOutTick]:
        """All ticks from ``begin_ns`` on and before ``stop_ns``.

        Args:
            chunks: in the order in which they took over.
            guided: whether each of them was guided.
            holds: in the order of time.
            begin_ns: when the node was activated.
            stop_ns: when the recording ended.
        """
        found = [
            self._hold(t) if _held(holds, t) else self._idle(t)
            for t in self._times_before(begin_ns, chunks[0].took_over_ns if chunks else stop_ns)
        ]
        for index, chunk in enumerate(chunks):
            following = chunks[index + 1] if index + 1 < len(chunks) else None
            stretch = self._stretch(chunk, following, stop_ns)
            for position, t_ns in enumerate(stretch.times_ns):
                if position == 0:
                    self._take_over(index, chunk, guided[index])
                if _held(holds, t_ns):
                    found.append(self._hold(t_ns))
                elif self._timeline.remaining == 0:
                    found.append(self._idle(t_ns))
                elif stretch.rows is None or position < stretch.rows:
                    found.append(self._execute(t_ns))
                # else the node skipped a tick of its control: it was late
        return found

    def _times_before(self, begin_ns: int, first_ns: int) -> list[int]:
        """Ticks on the grid of ``first_ns``, before it."""
        count = max(0, (first_ns - begin_ns) // self._period_ns)
        return [first_ns - k * self._period_ns for k in range(count, 0, -1)]

    def _stretch(self, chunk: HeardChunk, following: HeardChunk | None, stop_ns: int) -> _Stretch:
        begin_ns, end_ns = chunk.took_over_ns, stop_ns if following is None else following.took_over_ns
        if following is None:
            count = max(0, -(-(end_ns - begin_ns) // self._period_ns))
            return _Stretch(tuple(begin_ns + k * self._period_ns for k in range(count)), None)
        count, rows = max(1, round((end_ns - begin_ns) / self._period_ns)), None
        if following.epoch == chunk.epoch and following.sequence == chunk.sequence + 1:
            # Steps from one first row to the other: what was executed between two observations, and either's delay.
            rows = following.execution_horizon + following.delay_steps - chunk.delay_steps
            count = max(count, rows)
        # Evenly spaced: a clock in coarser steps than the period moves single ticks by less than one of its steps.
        return _Stretch(tuple(begin_ns + round(k * (end_ns - begin_ns) / count) for k in range(count)), rows)

    def _begin_epoch(self, epoch: int | None) -> None:
        self._epoch = epoch
        self._timeline.clear()
        self._strategy.reset()
        self._motion: Motion | None = None
        self._ramp: Row | None = None
        self._commanded = False
        self._chunk = NO_CHUNK
        self._first_step = 0  # of the newest chunk, in steps of this timeline

    def _take_over(self, index: int, chunk: HeardChunk, guided: bool) -> None:
        if chunk.epoch != self._epoch:
            self._begin_epoch(chunk.epoch)
        self._first_step = self._timeline.step - chunk.delay_steps
        self._strategy.merge(
            self._timeline,
            ActionChunk(
                actions=chunk.actions,
                first_step=self._first_step,
                epoch=chunk.epoch,
                sequence=chunk.sequence,
                execution_horizon=chunk.execution_horizon,
                delay_steps=chunk.delay_steps,
                guided=guided,
            ),
        )
        self._chunk = index

    def _execute(self, t_ns: int) -> WorkedOutTick:
        period_s = self._period_ns * 1e-9
        window = self._timeline.window(self._timeline.step, self._lookahead)
        # As in a dry run, in which the robot does not follow: measured is what it starts from only.
        measured = self._nothing if self._commanded else self._measured(t_ns)
        verdict = self._gate.check(window, self._motion, measured, period_s)
        if verdict.rows is None:
            return self._hold(t_ns)
        self._timeline.consume()
        row = verdict.rows[0]
        before = self._gate.reference(self._motion, measured)
        self._motion = Motion.at_rest(row) if before is None else before.advance(row, period_s, window[0])
        self._commanded = True
        return WorkedOutTick(t_ns, ExecutionState.RUNNING, row, verdict.changed[0], self._chunk)

    def _idle(self, t_ns: int) -> WorkedOutTick:
        """No row is left, or none has come yet."""
        if self._motion is not None:
            self._motion = Motion.at_rest(self._motion.position)
        planless = self._chunk == NO_CHUNK or self._ramp is not None  # nothing yet, or nothing since a hold
        state = ExecutionState.WAITING if planless else ExecutionState.STARVED
        return WorkedOutTick(t_ns, state, self._nothing, self._unclamped, self._chunk)

    def _hold(self, t_ns: int) -> WorkedOutTick:
        """Brakes from the motion so far, then commands nothing; the plan is void."""
        if self._ramp is None:
            moving = self._motion is not None and self._timeline.remaining > 0
            self._ramp = (
                self._gate.ramp_down(self._motion, self._period_ns * 1e-9) if moving else self._nothing[None][:0]
            )
            self._timeline.clear()
        command = self._nothing
        if len(self._ramp):
            command, self._ramp = self._ramp[0], self._ramp[1:]
        return WorkedOutTick(t_ns, ExecutionState.HOLDING, command, self._unclamped, self._chunk)


def _held(holds: Sequence[HeldPeriod], t_ns: int) -> bool:
    return any(hold.begin_ns <= t_ns < hold.end_ns for hold in holds)
