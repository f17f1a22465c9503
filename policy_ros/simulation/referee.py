# SPDX-License-Identifier: Apache-2.0
"""Who decides when a task begins, when it is over, and whether it was done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Decision(Enum):
    """What the referee says about an episode."""

    DRAW = "draw"  # put the task on the table now; the episode starts after the pause
    STARTED = "started"
    SOLVED = "solved"  # it ends a moment later
    SUCCESS = "success"  # ended
    FAILURE = "failure"  # ended
    DISCARDED = "discarded"  # ended by a request, before it was decided


@dataclass(frozen=True)
class Verdict:
    """One decision about the episode ``index``, counted from 0."""

    decision: Decision
    index: int


@dataclass(frozen=True)
class Rules:
    """How long an episode lasts, and what comes after it.

    Attributes:
        timeout_s: a task not solved within this time is a failure [s].
        success_hold_s: a solved task stays so long before the episode ends [s].
        pause_s: between the draw of a task and its start [s].
        on_request: the first episode waits for a request too.
        goes_on: one episode follows the other; else every one waits for a request.
        episodes: so many, and no more; 0: without end.
    """

    timeout_s: float = 30.0
    success_hold_s: float = 1.0
    pause_s: float = 0.0
    on_request: bool = False
    goes_on: bool = True
    episodes: int = 0


class Referee:
    """Watches the table step by step. The task of episode 0 is on the table unless it waits for a request.

    Attributes:
        index: of the newest episode; -1 before the first.
        started: episodes that were started.
        successes: episodes that were solved.
        elapsed_s: since the start of the running episode [s].
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.index = -1
        self.started = self.successes = 0
        self.elapsed_s = 0.0
        self._running = False
        self._pause_left_s: float | None = None
        self._solved_at_s: float | None = None
        if not rules.on_request:
            self.index, self._pause_left_s = 0, rules.pause_s

    @property
    def running(self) -> bool:
        """Whether an episode is between its start and its end."""
        return self._running

    @property
    def paused_s(self) -> float:
        """How long a task has been on the table whose episode has not started; 0 where there is none [s]."""
        return 0.0 if self._pause_left_s is None else self._rules.pause_s - self._pause_left_s

    @property
    def finished(self) -> bool:
        """Whether all episodes are over."""
        return not self._running and self._pause_left_s is None and 0 < self._rules.episodes <= self.index + 1

    def request(self) -> list[Verdict]:
        """Somebody wants the next episode: what that means; nothing if all are over."""
        if self.finished:
            return []
        verdicts = self._end(Decision.DISCARDED) if self._running else []
        return verdicts + ([] if self.finished else self._draw())

    def advance(self, success: bool, dt_s: float) -> list[Verdict]:
        """``dt_s`` went by; ``success``: the table shows a solved task now."""
        if self._running:
            return self._watch(success, dt_s)
        if self._pause_left_s is None:
            return []
        self._pause_left_s -= dt_s
        return self._start() if self._pause_left_s <= 0.0 else []

    def _watch(self, success: bool, dt_s: float) -> list[Verdict]:
        self.elapsed_s += dt_s
        verdicts = []
        if success and self._solved_at_s is None:  # stays solved, whatever happens in the moment after
            self._solved_at_s = self.elapsed_s
            self.successes += 1
            verdicts.append(Verdict(Decision.SOLVED, self.index))
        if self._solved_at_s is not None:
            if self.elapsed_s - self._solved_at_s < self._rules.success_hold_s:
                return verdicts
            verdicts += self._end(Decision.SUCCESS)
        elif self.elapsed_s < self._rules.timeout_s:
            return verdicts
        else:
            verdicts += self._end(Decision.FAILURE)
        return verdicts + (self._draw() if self._rules.goes_on and not self.finished else [])

    def _draw(self) -> list[Verdict]:
        self.index += 1
        self._pause_left_s = self._rules.pause_s
        verdicts = [Verdict(Decision.DRAW, self.index)]
        return verdicts if self._pause_left_s > 0.0 else verdicts + self._start()

    def _start(self) -> list[Verdict]:
        self._pause_left_s = self._solved_at_s = None
        self._running, self.elapsed_s = True, 0.0
        self.started += 1
        return [Verdict(Decision.STARTED, self.index)]

    def _end(self, decision: Decision) -> list[Verdict]:
        self._running = False
        return [Verdict(decision, self.index)]
