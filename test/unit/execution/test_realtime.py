# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from policy_ros.execution import RealtimeRefused, RealtimeThreads, why_refused

CONTROL, CALLBACKS = 4711, 4712  # thread ids


class System:
    """The scheduler calls of an operating system with threads of its own."""

    def __init__(self) -> None:
        self.threads = {CONTROL: (os.SCHED_OTHER, 0), CALLBACKS: (os.SCHED_BATCH, 0)}
        self.refuses: set[int] = set()  # threads that may not become real-time

    def get_policy(self, thread: int) -> int:
        return self._of(thread)[0]

    def get_parameters(self, thread: int) -> os.sched_param:
        return os.sched_param(self._of(thread)[1])

    def set(self, thread: int, policy: int, parameters: os.sched_param) -> None:
        assert policy & os.SCHED_RESET_ON_FORK, "threads started by these would inherit the priority"
        self._of(thread)
        if thread in self.refuses and policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        self.threads[thread] = (policy & ~os.SCHED_RESET_ON_FORK, parameters.sched_priority)

    def _of(self, thread: int) -> tuple[int, int]:
        if thread not in self.threads:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return self.threads[thread]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System()
    monkeypatch.setattr(os, "sched_getscheduler", system.get_policy)
    monkeypatch.setattr(os, "sched_getparam", system.get_parameters)
    monkeypatch.setattr(os, "sched_setscheduler", system.set)
    interval_s = sys.getswitchinterval()
    yield system
    sys.setswitchinterval(interval_s)


def test_the_first_thread_gets_the_priority_and_the_next_one_less(system: System) -> None:
    RealtimeThreads(50).prioritise([CONTROL, CALLBACKS])
    assert system.threads == {CONTROL: (os.SCHED_FIFO, 50), CALLBACKS: (os.SCHED_FIFO, 49)}


def test_the_lowest_priority_is_shared(system: System) -> None:
    RealtimeThreads(1).prioritise([CONTROL, CALLBACKS])
    assert system.threads == {CONTROL: (os.SCHED_FIFO, 1), CALLBACKS: (os.SCHED_FIFO, 1)}


def test_the_interpreter_changes_hands_sooner_meanwhile(system: System) -> None:
    before, threads = sys.getswitchinterval(), RealtimeThreads(50)
    threads.prioritise([CONTROL])
    assert sys.getswitchinterval() < before
    threads.release()
    assert sys.getswitchinterval() == before


def test_release_restores_what_was_and_ignores_threads_that_have_ended(system: System) -> None:
    before, threads = dict(system.threads), RealtimeThreads(50)
    threads.prioritise([CONTROL, CALLBACKS])
    del system.threads[CONTROL]
    threads.release()
    assert system.threads == {CALLBACKS: before[CALLBACKS]}


def test_priority_zero_changes_nothing(system: System) -> None:
    before, interval_s = dict(system.threads), sys.getswitchinterval()
    RealtimeThreads(0).prioritise([CONTROL, CALLBACKS])
    assert (system.threads, sys.getswitchinterval()) == (before, interval_s)


def test_a_refusal_changes_nothing_and_names_the_remedy(system: System) -> None:
    before, interval_s = dict(system.threads), sys.getswitchinterval()
    system.refuses.add(CALLBACKS)
    with pytest.raises(RealtimeRefused, match=r"realtime_priority 50 is not permitted.*limits\.d.*rtprio 50"):
        RealtimeThreads(50).prioritise([CONTROL, CALLBACKS])
    assert (system.threads, sys.getswitchinterval()) == (before, interval_s)


def test_a_priority_can_be_tried_and_leaves_nothing_changed(system: System) -> None:
    own = threading.get_native_id()
    system.threads[own] = (os.SCHED_OTHER, 0)
    assert why_refused(50) == ""
    system.refuses.add(own)
    assert "not permitted" in why_refused(50)
    assert system.threads[own] == (os.SCHED_OTHER, 0)
