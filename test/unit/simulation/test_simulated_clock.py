# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest

from policy_ros.execution.clock import VirtualClock
from policy_ros.simulation.schedule import Job, Schedule
from policy_ros.simulation.simulated_clock import SimulatedClock

MS = 1_000_000


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_time_runs_at_its_factor(factor: float):
    real = VirtualClock(now_ns=7_000 * MS)
    clock = SimulatedClock(factor, real)
    start_ns, real_start_ns = clock.now_ns(), real.now_ns()
    for step in range(1, 101):
        assert clock.wait_until(start_ns + step * 10 * MS, threading.Event())
    assert clock.now_ns() - start_ns == 1000 * MS
    assert real.now_ns() - real_start_ns == pytest.approx(1000 * MS / factor)


def test_work_takes_no_time_and_every_job_runs_when_it_is_due():
    real, stop, times = VirtualClock(), threading.Event(), []
    clock = SimulatedClock(1.0, real)

    def work() -> None:
        times.append(clock.now_ns() // MS)
        real.advance(0.5)  # a machine that is far too slow
        if len(times) == 5:
            stop.set()

    Schedule([Job(10 * MS, work)], clock).run(stop)
    assert times == [0, 10, 20, 30, 40]


def test_small_delay_is_made_up_for_and_a_long_one_is_not():
    real = VirtualClock()
    clock = SimulatedClock(1.0, real)
    clock.wait_until(10 * MS, threading.Event())
    real.advance(0.05)
    clock.wait_until(100 * MS, threading.Event())
    assert real.now_ns() == 100 * MS
    real.advance(3.0)
    clock.wait_until(200 * MS, threading.Event())
    clock.wait_until(300 * MS, threading.Event())
    assert real.now_ns() == 3200 * MS


def test_stop_ends_the_wait():
    stop = threading.Event()
    stop.set()
    assert not SimulatedClock(1.0, VirtualClock()).wait_until(MS, stop)
