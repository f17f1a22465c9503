# SPDX-License-Identifier: Apache-2.0
"""What must hold whatever happens. Each check sees all events in the order of their times and tells what is wrong."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from soaking.events import (
    Activating,
    Chunk,
    Command,
    Deactivated,
    Event,
    FaultBegan,
    FaultEnded,
    RobotStarting,
    Sample,
    Status,
    SwapEnded,
    Swapping,
)

DISCOVERY_S = 15.0  # in which a process that began again is found by everybody, on a busy machine
ROUNDING = 1e-6  # commands are computed and sent in float64, limits compared in it


class Check(Protocol):
    """One promise."""

    name: str

    def see(self, event: Event) -> Iterator[str]:
        """One line for each violation that this event is."""


@dataclass(frozen=True)
class OutputLimits:
    """What may be commanded on one output, arrays ``(J,)`` in the order of ``joints`` [rad, m]."""

    joints: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    max_step: NDArray[np.float64]  # between two rows


class Limits:
    """Every command is finite, within the position limits, and no step is larger than the velocity limit allows.

    The first command of an epoch continues what is measured, every other one the command before it; so may the first
    command of another policy.

    Args:
        outputs: by name.
        measured_s: a joint state of up to this age may have been what the node took for measured [s].
    """

    name = "limits"

    def __init__(self, outputs: Mapping[str, OutputLimits], measured_s: float) -> None:
        self.checked = 0
        self.lost = 0
        self._outputs = outputs
        self._measured_s = measured_s
        self._epoch = -1
        self._swapping = False  # another policy is on its way
        self._may_continue = False  # the epoch may be its
        self._previous: dict[str, tuple[int, NDArray[np.float64]]] = {}  # output to epoch and row
        self._measured: deque[tuple[float, dict[str, float]]] = deque()

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, Sample) and event.positions is not None:
            self._measured.append((event.time_s, event.positions))
            while self._measured[0][0] < event.time_s - self._measured_s:
                self._measured.popleft()
        elif isinstance(event, RobotStarting):
            self._measured.clear()  # it begins in another pose
        elif isinstance(event, (Swapping, SwapEnded)):
            self._swapping = isinstance(event, Swapping)
        elif isinstance(event, Chunk):
            if event.epoch != self._epoch:
                self._epoch, self._may_continue = event.epoch, self._swapping
        elif isinstance(event, Command):
            self.checked += 1
            self.lost += event.lost
            yield from self._judge(event)

    def _judge(self, command: Command) -> Iterator[str]:
        limits = self._outputs[command.output]
        rows = command.rows
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != len(limits.joints):
            yield f"{command.output}: expected rows of {len(limits.joints)} joints, got shape {rows.shape}"
            return
        if not np.all(np.isfinite(rows)):
            yield f"{command.output}: a command that is not finite: {rows.tolist()}"
            return
        if np.any(rows < limits.lower - ROUNDING) or np.any(rows > limits.upper + ROUNDING):
            yield f"{command.output}: beyond the position limits: {rows.tolist()}"
        steps = np.abs(np.diff(rows, axis=0))
        if np.any(steps > limits.max_step + ROUNDING):
            yield f"{command.output}: a step of {np.max(steps, axis=0).tolist()} within a command"
        yield from self._judge_step(command, limits)
        self._previous[command.output] = self._epoch, rows[0]

    def _judge_step(self, command: Command, limits: OutputLimits) -> Iterator[str]:
        epoch, before = self._previous.get(command.output, (None, None))
        row = command.rows[0]
        if before is not None and (epoch == self._epoch or self._may_continue):
            steps = np.abs(row - before)
            close = bool(np.all(steps <= (1 + command.lost) * limits.max_step + ROUNDING))
            if close:
                return
            if epoch == self._epoch:
                lost = f", {command.lost} lost between" if command.lost else ""
                yield f"{command.output}: a step of {steps.tolist()} from the command before{lost}"
                return
        for joint, value, step in zip(limits.joints, row, limits.max_step, strict=True):
            seen = [positions[joint] for _, positions in self._measured]
            if seen and not min(seen) - step - ROUNDING <= value <= max(seen) + step + ROUNDING:
                yield (
                    f"{command.output}: the epoch begins at {value:.4f} for {joint}, "
                    f"measured were {min(seen):.4f} to {max(seen):.4f}"
                )


class FreshInputs:
    """Nothing is commanded from an input stream that is too old.

    After the robot was started again a stream is judged from the first sample on that reaches the observer, which has
    to come within ``DISCOVERY_S``.

    Args:
        bounds_s: stream to the age of its newest sample beyond which nothing may be commanded [s].
    """

    name = "fresh inputs"

    def __init__(self, bounds_s: Mapping[str, float]) -> None:
        self._bounds_s = bounds_s
        self._newest_s: dict[str, float] = {}
        self._awaited_s: dict[str, float] = {}  # stream to when the robot was started again

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, Sample):
            self._newest_s[event.stream] = event.time_s
            self._awaited_s.pop(event.stream, None)
        elif isinstance(event, RobotStarting):
            self._awaited_s.update(dict.fromkeys(self._newest_s, event.time_s))
            self._newest_s.clear()
        elif isinstance(event, Command):
            for stream, newest_s in self._newest_s.items():
                age_s = event.time_s - newest_s
                if age_s > self._bounds_s[stream]:
                    yield (
                        f"{event.output}: commanded with {stream} {age_s:.3f} s old, "
                        f"at most {self._bounds_s[stream]:.3f} s allowed"
                    )
            for stream, since_s in self._awaited_s.items():
                if event.time_s - since_s > DISCOVERY_S:
                    awaited_s = event.time_s - since_s
                    yield f"{event.output}: commanded, but {stream} has not been seen for {awaited_s:.1f} s"


class WithinPlan:
    """No more rows are executed than the newest chunk has left.

    Args:
        extra: commands beyond the plan that a hold may take.
    """

    name = "within the plan"

    def __init__(self, extra: int) -> None:
        self._extra = extra
        self._allowed = 0
        self._executed: Counter[str] = Counter()

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, Chunk):
            self._allowed = event.rows + self._extra
            self._executed.clear()
        elif isinstance(event, Command):
            self._executed[event.output] += 1 + event.lost
            executed = self._executed[event.output]
            if executed > self._allowed:
                yield f"{event.output}: {executed} commands since the newest chunk, {self._allowed} allowed"


class SilentUnlessActive:
    """Nothing is commanded between the answer to a deactivation and the next request for activation."""

    name = "silent unless active"

    def __init__(self) -> None:
        self._inactive_since_s: float | None = None

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, Activating):
            self._inactive_since_s = None
        elif isinstance(event, Deactivated):
            self._inactive_since_s = event.time_s
        elif isinstance(event, Command) and self._inactive_since_s is not None:
            yield f"{event.output}: commanded {event.time_s - self._inactive_since_s:.3f} s after the deactivation"


class SilentAfterFault:
    """A fault that lasts ends in silence within its bound, and stays silent until the fault is lifted.

    Args:
        slack_s: for transport and scheduling, added to every bound [s].
    """

    name = "silent after a fault"

    def __init__(self, slack_s: float) -> None:
        self.worst_s: dict[str, float] = {}  # kind to the longest time from a lasting fault to the last command
        self.bound_s: dict[str, float] = {}
        self.lasting: Counter[str] = Counter()
        self._slack_s = slack_s
        self._faults: dict[str, FaultBegan] = {}
        self._last_s: dict[str, float] = {}

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, FaultBegan):
            self._faults[event.kind] = event
            self._last_s[event.kind] = event.time_s
            self.bound_s[event.kind] = event.bound_s
        elif isinstance(event, FaultEnded):
            self._close(self._faults.pop(event.kind), event.time_s)
        elif isinstance(event, Command):
            for kind, fault in self._faults.items():
                self._last_s[kind] = event.time_s
                late_s = event.time_s - fault.time_s - fault.bound_s
                if late_s > self._slack_s:
                    yield f"{event.output}: commanded {late_s:.3f} s after T = {fault.bound_s:.3f} s of '{kind}'"

    def _close(self, fault: FaultBegan, ended_s: float) -> None:
        if ended_s - fault.time_s > fault.bound_s:
            latency_s = self._last_s[fault.kind] - fault.time_s
            self.worst_s[fault.kind] = max(latency_s, self.worst_s.get(fault.kind, 0.0))
            self.lasting[fault.kind] += 1


class PlausibleStatus:
    """Counters grow, measured times and weights are possible ones; counts holds by their cause."""

    name = "plausible status"

    def __init__(self) -> None:
        self.holds: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self._last: dict[str, int] = {}
        self._may_restart = True

    def see(self, event: Event) -> Iterator[str]:
        if isinstance(event, (Activating, Deactivated)):  # configuring again begins anew, and so does activating
            self._may_restart = True
        elif isinstance(event, Status):
            yield from self._judge(event)

    def _judge(self, status: Status) -> Iterator[str]:
        for name, number in status.numbers.items():
            if number < 0.0 or np.isinf(number):
                yield f"{name}: expected 0 or more, or NaN before anything is measured, got {number}"
        shrunk = [name for name, value in status.counters.items() if value < self._last.get(name, 0)]
        if shrunk and not self._may_restart:
            yield f"counters went back while active: {', '.join(shrunk)}"
        if shrunk:
            self._last, self._may_restart = {}, False
        for name, value in status.counters.items():
            grown = value - self._last.get(name, 0)
            self.totals[name] += grown
            if name == "holds" and grown:
                self.holds[status.hold_cause or "ended before a status told"] += grown
        self._last = dict(status.counters)


def expect(checks: Sequence[Check], events: Sequence[Event]) -> list[str]:
    """All violations of events in their order, for one pass over a recorded sequence."""
    return [f"{check.name}: {line}" for event in events for check in checks for line in check.see(event)]
