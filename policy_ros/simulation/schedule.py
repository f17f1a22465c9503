# SPDX-License-Identifier: Apache-2.0
"""Several periodic jobs on one thread, at absolute deadlines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Time that only runs forward [ns]."""

    def now_ns(self) -> int:
        """The present."""
        ...

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Wait; False as soon as ``stop`` is set."""
        ...


@dataclass
class Job:
    """Something to do every ``period_ns``.

    Attributes:
        phase_ns: first time, after the start of the schedule.
        max_catch_up: times in arrears that are made up for; any more are skipped and counted in ``skipped``.
    """

    period_ns: int
    call: Callable[[], None]
    phase_ns: int = 0
    max_catch_up: int = 0
    skipped: int = 0
    due_ns: int = 0


class Schedule:
    """Runs jobs in the order in which they come due; the earlier listed one first if two do at once."""

    def __init__(self, jobs: list[Job], clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Work on the calling thread until ``stop`` is set."""
        start_ns = self._clock.now_ns()
        for job in self._jobs:
            job.due_ns = start_ns + job.phase_ns
        while True:
            job = min(self._jobs, key=lambda candidate: candidate.due_ns)
            if not self._clock.wait_until(job.due_ns, stop):
                return
            job.call()
            job.due_ns += job.period_ns
            behind = (self._clock.now_ns() - job.due_ns) // job.period_ns
            if behind > job.max_catch_up:
                job.skipped += behind - job.max_catch_up
                job.due_ns += (behind - job.max_catch_up) * job.period_ns
