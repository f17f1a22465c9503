# SPDX-License-Identifier: Apache-2.0
"""Clocks to pace and to measure with: injected everywhere, so that tests and replays need not wait."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Something that tells the time and can wait."""

    def now_ns(self) -> int:
        """Current time [ns]."""
        ...

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Wait for a time [ns]; True when it was reached, False as soon as ``stop`` is set.

        A clock that can step back has to return True when it does: its caller then finds a new deadline.
        """
        ...


class SteadyClock:
    """The machine's monotonic clock, which nobody can set."""

    def now_ns(self) -> int:
        """Monotonic time [ns]."""
        return time.monotonic_ns()

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Wait for a monotonic time [ns]; False as soon as ``stop`` is set."""
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            if stop.wait(left_ns * 1e-9):
                return False
        return not stop.is_set()


class VirtualClock:
    """Time that passes only when somebody waits or advances it."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Virtual time [ns]."""
        return self._now_ns

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Jump to a time [ns] at once; False if ``stop`` is set."""
        if stop.is_set():
            return False
        self._now_ns = max(self._now_ns, deadline_ns)
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass [s]; a negative value makes the clock step back."""
        self._now_ns += round(seconds * 1e9)
