# SPDX-License-Identifier: Apache-2.0
"""Puts events into the order of their times and hands them to the checks."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from soaking.checks import Check
from soaking.events import Event

MOST_KEPT = 200  # violations; more are only counted


@dataclass(frozen=True)
class Violation:
    """A promise that was broken."""

    time_s: float
    check: str
    text: str
    context: str


class Referee:
    """Events arrive from several topics and threads out of order; judging lags behind so that they can be sorted.

    Args:
        checks: the promises.
        lag_s: events that are up to this late are still put in order [s].
    """

    def __init__(self, checks: Sequence[Check], lag_s: float = 2.0) -> None:
        self.violations: list[Violation] = []
        self.count = 0  # of violations, kept or not
        self.out_of_order = 0  # events that came later than the lag
        self.context = ""  # what is being done to the node now
        self._checks = checks
        self._lag_s = lag_s
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Event, str]] = []
        self._numbers = itertools.count()
        self._judged_until_s = float("-inf")

    def add(self, event: Event) -> None:
        """Take an event, from any thread."""
        with self._lock:
            self.out_of_order += event.time_s < self._judged_until_s
            heapq.heappush(self._waiting, (event.time_s, next(self._numbers), event, self.context))

    def advance(self, now_s: float) -> None:
        """Judge what is older than the lag."""
        with self._lock:
            self._judged_until_s = now_s - self._lag_s
            while self._waiting and self._waiting[0][0] <= self._judged_until_s:
                self._judge(*self._waiting[0][2:])
                heapq.heappop(self._waiting)

    def finish(self) -> None:
        """Judge everything that is left."""
        self.advance(float("inf"))

    def report(self, time_s: float, check: str, text: str) -> None:
        """A violation that somebody else found."""
        with self._lock:
            self._note(Violation(time_s, check, text, self.context))

    def _judge(self, event: Event, context: str) -> None:
        for check in self._checks:
            for text in check.see(event):
                self._note(Violation(event.time_s, check.name, text, context))

    def _note(self, violation: Violation) -> None:
        self.count += 1
        if len(self.violations) < MOST_KEPT:
            self.violations.append(violation)
