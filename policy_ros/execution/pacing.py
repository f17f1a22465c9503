# SPDX-License-Identifier: Apache-2.0
"""The control thread: one call per period on absolute deadlines."""

from __future__ import annotations

import threading
from collections.abc import Callable

from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.execution.clock import Clock
from policy_ros.execution.statistics import SampleWindow, Summary


class Pacer:
    """Calls ``callback`` once per period.

    Deadlines lie on a fixed grid, so that errors do not add up. A call that comes due while the previous one still
    runs is made late by at most half a period; later than that it is skipped, never made up for by a burst. An
    exception in the callback goes to ``on_error`` and pacing goes on: whoever handles it puts the execution on hold,
    and the next call can still publish that hold.

    Args:
        period_s: control period [s].
        callback: runs on the control thread.
        clock: paces and measures.
        on_error: receives what the callback raised, on the control thread. It must not raise.
        name: of the thread.

    Raises:
        ConfigurationError: the period is not positive.
    """

    def __init__(
        self,
        period_s: float,
        callback: Callable[[], None],
        clock: Clock,
        *,
        on_error: Callable[[Exception], None],
        name: str = "control",
    ) -> None:
        if not period_s > 0.0:
            raise ConfigurationError(f"control period: expected a positive time [s], got {period_s!r}")
        self._period_ns = round(period_s * 1e9)
        self._callback = callback
        self._clock = clock
        self._on_error = on_error
        self._name = name
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._periods = SampleWindow()
        self.missed = 0  # deadlines skipped since the start
        self.errors = 0  # exceptions of the callback since the start

    @property
    def alive(self) -> bool:
        """Whether the control thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def thread_id(self) -> int | None:
        """The control thread as the system knows it; None before the first start."""
        return None if self._thread is None else self._thread.native_id

    def periods(self) -> Summary:
        """Intervals between two calls over the last minute [s]."""
        return self._periods.summary(self._clock.now_ns())

    def start(self) -> None:
        """Start the control thread; the first call comes at once.

        Raises:
            PolicyRosError: the thread of an earlier start still runs.
        """
        if self.alive:
            raise PolicyRosError("control thread still runs: expected stop() to have returned True before start()")
        self._stop = threading.Event()
        self._periods.clear()
        self.missed = self.errors = 0
        self._thread = threading.Thread(target=self.run, args=(self._stop,), name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end and wait at most ``timeout_s``; False if it still runs then.

        From within the callback it only asks.
        """
        self._stop.set()
        if self._thread is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run(self, stop: threading.Event) -> None:
        """Pace on the calling thread until ``stop`` is set."""
        deadline_ns = self._clock.now_ns()
        previous_ns: int | None = None
        while self._clock.wait_until(deadline_ns, stop):
            now_ns = self._clock.now_ns()
            if previous_ns is not None and now_ns > previous_ns:
                self._periods.append((now_ns - previous_ns) * 1e-9, now_ns)
            previous_ns = now_ns
            self._call()
            deadline_ns = self._next_deadline(deadline_ns)

    def _call(self) -> None:
        try:
            self._callback()
        except Exception as error:  # the loop outlives its callback: somebody has to publish the hold
            self.errors += 1
            self._on_error(error)

    def _next_deadline(self, deadline_ns: int) -> int:
        now_ns = self._clock.now_ns()
        if now_ns < deadline_ns - self._period_ns:  # the clock stepped back
            return now_ns + self._period_ns
        next_ns = deadline_ns + self._period_ns
        skipped = max(0, (now_ns - next_ns + self._period_ns // 2) // self._period_ns)
        self.missed += skipped
        return next_ns + skipped * self._period_ns
