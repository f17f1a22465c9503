# SPDX-License-Identifier: Apache-2.0
"""One thread for jobs that may take long, one after the other."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

_JOIN_S = 0.5


class Worker:
    """A new thread for each job would leave a new heap of the C library behind.

    Args:
        name: of the thread.
        niceness: how far it stands back behind the other threads of this process, 0 to 19; Linux only.
    """

    def __init__(self, name: str, niceness: int = 0) -> None:
        self._niceness = niceness
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Run it after those that were submitted before. It must not raise."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Ask the thread to end; a job that hangs keeps it."""
        self._jobs.put(None)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        if self._niceness and sys.platform == "linux":  # elsewhere it would be that of the process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while (job := self._jobs.get()) is not None:
            job()
