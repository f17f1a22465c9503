# SPDX-License-Identifier: Apache-2.0
"""Threads keep the scheduling that they have, whatever a library would like."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give all threads their scheduling back, and threads begun meanwhile that of the calling one.

    Where it is permitted, SVT-AV1 puts the thread that opens an encoder and all its own under ``SCHED_FIFO`` with the
    highest priority, above a robot's control loop; whatever the process starts afterwards would inherit that.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    before = {}
    for thread in _threads():
        with suppress(ProcessLookupError):
            before[thread] = _scheduling(thread)
    own = _scheduling(threading.get_native_id())
    try:
        yield
    finally:
        for thread in _threads():
            with suppress(ProcessLookupError):
                wanted = before.get(thread, own)
                if _scheduling(thread) != wanted:
                    policy, priority = wanted
                    os.sched_setscheduler(thread, policy, os.sched_param(priority))


def _threads() -> list[int]:
    return [int(task.name) for task in _TASKS.iterdir()]


def _scheduling(thread: int) -> tuple[int, int]:
    """Policy and priority."""
    return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
