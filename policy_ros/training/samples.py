# SPDX-License-Identifier: Apache-2.0
"""Recorded messages, one after the other, to the points of a grid in time: an observation and the actions after it.

The grid begins when everything is there, and has one point each control period. The observation at a point is what
the running node would have assembled then: the same assembler, fed with all that had been recorded until then and
nothing else. Row i of the actions is the setpoint that the robot's controllers made of the commands i + 1 periods
later: where the node leads the robot with the row that it executes i ticks after its observation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import BagMessage
from policy_ros.data import JointScaling, Observation
from policy_ros.observation import DropCause, NotReady, ObservationAssembler
from policy_ros.training.rows import RowWindow

NS_PER_S = 1_000_000_000


class Inputs(Protocol):
    """Who pushes messages into an assembler, such as :class:`policy_ros.bags.BagInputs`."""

    @property
    def topics(self) -> Sequence[str]:
        """What observations are made of."""

    def feed(self, message: BagMessage, assembler: ObservationAssembler) -> object:
        """Push one message."""


class Commands(Protocol):
    """Who knows what the robot was told to do, such as :class:`policy_ros.bags.CommandTracks`."""

    @property
    def topics(self) -> Sequence[str]:
        """What commands come on."""

    def feed(self, message: BagMessage) -> object:
        """Take one message."""

    def setpoint(self, time_ns: int) -> NDArray[np.float64] | None:
        """Where the joints ought to be ``(A,)`` [rad, m]; None while one was never commanded."""


class Grid(NamedTuple):
    """Moments one control period apart, the first at ``origin_ns``."""

    origin_ns: int
    rate_hz: float

    def time_ns(self, index: int) -> int:
        """Of a point [ns]; rounded anew for each, so that nothing adds up."""
        return self.origin_ns + round(index * NS_PER_S / self.rate_hz)


class Problem(NamedTuple):
    """Why a point of the grid is no sample: something to count it by, and one line."""

    cause: str
    text: str


@dataclass(frozen=True, eq=False)
class Point:
    """One point of the grid.

    Attributes:
        index: its number.
        time_ns: its log time [ns].
        observation: what the policy would see; None if there is a problem.
        actions: ``(P + H, A)`` float32, policy units; row P is the first after the observation.
        is_pad: ``(P + H,)``, true for rows that nobody commanded; they repeat the nearest one.
        problem: why this is no sample.
    """

    index: int
    time_ns: int
    observation: Observation | None
    actions: NDArray[np.float32]
    is_pad: NDArray[np.bool_]
    problem: Problem | None = None


_NO_COMMAND = Problem("no command", "expected a command for the row after the observation, got none")


class GridReader:
    """Reads one stretch of a recording. Observations wait, undecoded, until the rows after them are known.

    What waits are the messages of H periods, as they were recorded; nothing else is held.

    Args:
        inputs: feeds the assembler.
        commands: knows the setpoints.
        assembler: nothing pushed yet.
        scaling: robot to policy units, of the commanded joints.
        rate_hz: the control rate [Hz].
        horizon: H, rows in a sample after the observation.
        past_rows: P, rows in a sample before those.
        max_silence_s: a row is unknown when no command came for longer; None: a command holds until the next [s].

    Attributes:
        origin_ns: log time of the grid's first point; None before it was found [ns].
        completed_by: the topic that was waited for last.
    """

    def __init__(
        self,
        inputs: Inputs,
        commands: Commands,
        assembler: ObservationAssembler,
        scaling: JointScaling,
        *,
        rate_hz: float,
        horizon: int,
        past_rows: int = 0,
        max_silence_s: float | None = None,
    ) -> None:
        self._inputs, self._commands, self._assembler = inputs, commands, assembler
        self._input_topics, self._command_topics = frozenset(inputs.topics), frozenset(commands.topics)
        self._scaling = scaling
        self._rate_hz = rate_hz
        self._horizon, self._past_rows = horizon, past_rows
        self._max_silence_ns = None if max_silence_s is None else round(max_silence_s * NS_PER_S)
        self.origin_ns: int | None = None
        self.completed_by = ""
        self._rows = RowWindow(horizon, len(scaling.names), past_rows)
        self._waiting: deque[BagMessage] = deque()
        self._last_ns = self._last_command_ns = 0
        self._dropped = self._drops()
        self._told = assembler.last_errors

    def read(self, messages: Iterable[BagMessage], wanted: Container[int]) -> Iterator[Point]:
        """The wanted points, in their order. The last is the last one with a row after it.

        Args:
            messages: in the order of log time.
            wanted: indices of points; the others are passed over without decoding anything.
        """
        stream = iter(messages)
        self._begin(stream)
        if self.origin_ns is None:
            return
        grid = Grid(self.origin_ns, self._rate_hz)
        point, row = 0, 1
        for message in stream:
            while grid.time_ns(row) < message.log_ns:  # all that was recorded until then has been fed
                self._rows.append(self._setpoint(grid.time_ns(row)))
                row += 1
                if len(self._rows) == self._horizon:
                    yield from self._point(grid, point, wanted)
                    point += 1
            self._take(message)
        while grid.time_ns(row) <= self._last_ns:
            self._rows.append(self._setpoint(grid.time_ns(row)))
            row += 1
            if len(self._rows) == self._horizon:
                yield from self._point(grid, point, wanted)
                point += 1
        while len(self._rows):
            yield from self._point(grid, point, wanted)
            point += 1

    def _begin(self, stream: Iterator[BagMessage]) -> None:
        """Feed until all streams and all commands were heard of; the grid begins with what came last."""
        for message in stream:
            self._hear(message)
            if message.topic in self._input_topics:
                self._inputs.feed(message, self._assembler)
            # Asked in this order: while a camera is silent, nobody has to work out setpoints.
            if not self._assembler.missing() and self._commands.setpoint(message.log_ns) is not None:
                self._dropped = self._drops()
                self.origin_ns, self.completed_by = message.log_ns, message.topic
                return

    def _take(self, message: BagMessage) -> None:
        self._hear(message)
        if message.topic in self._input_topics:
            self._waiting.append(message)

    def _hear(self, message: BagMessage) -> None:
        self._last_ns = message.log_ns
        if message.topic in self._command_topics:
            self._last_command_ns = message.log_ns
            self._commands.feed(message)

    def _setpoint(self, time_ns: int) -> NDArray[np.float64] | None:
        if self._max_silence_ns is not None and time_ns - self._last_command_ns > self._max_silence_ns:
            return None
        return self._commands.setpoint(time_ns)

    def _point(self, grid: Grid, index: int, wanted: Container[int]) -> Iterator[Point]:
        """The point whose next rows are those in the window, if it is wanted; forgets its first row."""
        time_ns = grid.time_ns(index)
        while self._waiting and self._waiting[0].log_ns <= time_ns:
            self._inputs.feed(self._waiting.popleft(), self._assembler)
        problem = self._loss()
        if index in wanted:
            rows, is_pad = self._rows.chunk()
            observation = None
            if is_pad[self._past_rows]:
                problem = _NO_COMMAND
            if problem is None:
                observation, problem = self._observe(time_ns)
            yield Point(index, time_ns, observation, self._scaling.to_policy(rows), is_pad, problem)
        self._rows.popleft()

    def _observe(self, time_ns: int) -> tuple[Observation | None, Problem | None]:
        frozen = self._assembler.health(time_ns).frozen
        if frozen:
            return None, Problem(f"{frozen[0]} frozen", "expected new pictures, got the same one under new stamps")
        try:
            return self._assembler.assemble(time_ns), None
        except NotReady as error:
            return None, Problem(f"{error.stream} {error.cause.value}", str(error))

    def _loss(self) -> Problem | None:
        """What the assembler dropped since it was asked last: something was recorded there that nobody can use."""
        before, self._dropped = self._dropped, self._drops()
        causes = [cause for cause, count in self._dropped.items() if count > before[cause]]
        if not causes:
            return None
        told, self._told = self._told, self._assembler.last_errors
        texts = [f"{stream}: {text}" for stream, text in self._told.items() if told.get(stream) != text]
        return Problem(f"{causes[0].value} message", "; ".join(texts) or "as before")

    def _drops(self) -> dict[DropCause, int]:
        """Of what is out of order nothing is lost: newer samples are there."""
        return {cause: n for cause, n in self._assembler.drops.items() if cause is not DropCause.OUT_OF_ORDER}
