# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from policy_ros.simulation.schedule import Job, Schedule

MS = 1_000_000


class StubClock:
    """Passes time when asked to wait; stops the schedule at the end."""

    def __init__(self, end_ms: int) -> None:
        self.time_ns = 0
        self.end_ns = end_ms * MS

    def now_ns(self) -> int:
        return self.time_ns

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        self.time_ns = max(self.time_ns, deadline_ns)
        if self.time_ns > self.end_ns:
            stop.set()
        return not stop.is_set()


def test_jobs_run_at_their_own_rates_and_phases():
    clock, calls = StubClock(100), []
    fast = Job(10 * MS, lambda: calls.append(("fast", clock.time_ns // MS)))
    slow = Job(40 * MS, lambda: calls.append(("slow", clock.time_ns // MS)), phase_ns=5 * MS)
    Schedule([fast, slow], clock).run(threading.Event())
    assert [time for name, time in calls if name == "fast"] == list(range(0, 101, 10))
    assert [time for name, time in calls if name == "slow"] == [5, 45, 85]


def test_late_job_keeps_its_grid():
    clock, times = StubClock(100), []

    def late_once() -> None:
        times.append(clock.time_ns // MS)
        if len(times) == 2:
            clock.time_ns += 14 * MS

    Schedule([Job(10 * MS, late_once, max_catch_up=5)], clock).run(threading.Event())
    assert times[:5] == [0, 10, 24, 30, 40]


def test_job_far_behind_skips_instead_of_a_burst():
    clock, times = StubClock(200), []

    def slow_once() -> None:
        times.append(clock.time_ns // MS)
        if len(times) == 1:
            clock.time_ns += 55 * MS

    job = Job(10 * MS, slow_once)
    Schedule([job], clock).run(threading.Event())
    assert times[:3] == [0, 55, 60]
    assert job.skipped == 4


def test_job_that_catches_up_loses_no_step():
    clock, times = StubClock(100), []

    def slow_once() -> None:
        times.append(clock.time_ns // MS)
        if len(times) == 1:
            clock.time_ns += 35 * MS

    job = Job(10 * MS, slow_once, max_catch_up=10)
    Schedule([job], clock).run(threading.Event())
    assert len(times) == 11
    assert job.skipped == 0


def test_stop_ends_the_schedule():
    clock, stop, calls = StubClock(10_000), threading.Event(), []

    def third_stops() -> None:
        calls.append(1)
        if len(calls) == 3:
            stop.set()

    Schedule([Job(MS, third_stops)], clock).run(stop)
    assert len(calls) == 3
