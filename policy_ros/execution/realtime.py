# SPDX-License-Identifier: Apache-2.0
"""Real-time scheduling of the threads that have deadlines, where the system permits it."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from policy_ros.errors import PolicyRosError

# Longest time [s] that a thread computing in Python keeps the interpreter from one that waits for it; Python's is 5 ms.
_SWITCH_INTERVAL_S = 0.0005


class RealtimeRefused(PolicyRosError):
    """The system does not let this process have real-time priority."""


class RealtimeThreads:
    """Threads of this process under ``SCHED_FIFO``: the kernel runs them before everything else, as soon as they wake.

    Python's threads share one lock. It does not know priorities: a thread with one waits for whoever has the lock,
    which may itself wait for a processor. So every thread that computes much in Python and has deadlines belongs here,
    the most urgent first. The lock also changes hands sooner meanwhile. docs/pacing.md has the numbers.

    Threads that these start do not inherit the priority.

    Args:
        priority: of the first thread, 1 to 98; every further one gets one less. 0: nothing is ever changed.
    """

    def __init__(self, priority: int) -> None:
        self._priority = priority
        self._before: dict[int, tuple[int, int]] = {}  # thread to policy and priority
        self._switch_interval_s = 0.0

    def prioritise(self, thread_ids: Sequence[int]) -> None:
        """Raise these threads (``threading.Thread.native_id``), the most urgent first; all or none.

        Raises:
            RealtimeRefused: the system does not permit it, and what to do.
        """
        self.release()
        if self._priority == 0:
            return
        try:
            for rank, thread_id in enumerate(thread_ids):
                self._raise(thread_id, max(1, self._priority - rank))
        except OSError as error:
            self.release()
            raise RealtimeRefused(self._explain(error)) from error
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)

    def release(self) -> None:
        """Give all threads that still run the scheduling back that they had."""
        while self._before:
            thread_id, (policy, priority) = self._before.popitem()
            with suppress(ProcessLookupError):
                # To take the flag back would need a permission that setting it does not.
                os.sched_setscheduler(thread_id, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        if self._switch_interval_s > 0.0:
            sys.setswitchinterval(self._switch_interval_s)
            self._switch_interval_s = 0.0

    def _raise(self, thread_id: int, priority: int) -> None:
        before = os.sched_getscheduler(thread_id), os.sched_getparam(thread_id).sched_priority
        os.sched_setscheduler(thread_id, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        self._before[thread_id] = before

    def _explain(self, error: OSError) -> str:
        limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        return (
            f"execution.realtime_priority {self._priority} is not permitted ({error.strerror}; the rtprio limit is "
            f"{limit}): commands go on at normal priority. Raise the limit for this user in /etc/security/limits.d "
            f"('<user> - rtprio {self._priority}'; docker: --ulimit rtprio={self._priority}) and log in again, "
            "or set the parameter to 0"
        )


def why_refused(priority: int) -> str:
    """Why this process may not have a real-time priority; empty if it may. Tries it on the calling thread."""
    threads = RealtimeThreads(priority)
    try:
        threads.prioritise([threading.get_native_id()])
    except RealtimeRefused as error:
        return str(error)
    finally:
        threads.release()
    return ""
