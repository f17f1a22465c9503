# SPDX-License-Identifier: Apache-2.0
"""What arrives and what is recorded of one topic, in numbers."""

from __future__ import annotations

import threading
from collections import deque

_WINDOW_S = 2.0  # of the rate shown
SILENT_PERIODS = 10.0
SILENT_AFTER_S = 1.0  # no topic is called silent before


class TopicMeasurements:
    """Counts of one topic; times are given. Messages arrive on one thread, another one shows the numbers."""

    def __init__(self) -> None:
        self.received = 0
        self.recorded_bytes = 0
        self.largest_gap_s = 0.0  # between two recorded messages of one episode
        self.lost = 0  # by the middleware, as far as it notices
        self.expected_hz = 0.0
        self._lock = threading.Lock()  # of the arrivals: a deque cannot be read while it changes
        self._arrivals: deque[tuple[float, int]] = deque()  # monotonic [s], size
        self._recorded_s = 0.0  # sum over all episodes, from the first to the last message in each
        self._intervals = 0
        self._last_log_ns: int | None = None

    def arrived(self, now_s: float, size: int) -> None:
        """A message came; ``now_s`` is monotonic."""
        self.received += 1
        with self._lock:
            self._arrivals.append((now_s, size))
            while self._arrivals[0][0] < now_s - _WINDOW_S:
                self._arrivals.popleft()

    def record(self, log_ns: int, size: int) -> None:
        """It goes into the bag."""
        self.recorded_bytes += size
        if self._last_log_ns is not None:
            gap_s = (log_ns - self._last_log_ns) / 1e9
            self.largest_gap_s = max(self.largest_gap_s, gap_s)
            self._recorded_s += gap_s
            self._intervals += 1
        self._last_log_ns = log_ns

    def begin_episode(self) -> None:
        """The time since the last message is no gap."""
        self._last_log_ns = None

    def expect_current_rate(self, now_s: float) -> None:
        """What arrived lately is what to expect from now on."""
        self.expected_hz = self.rate_hz(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Of the last seconds [Hz]."""
        times = [time_s for time_s, _ in self._lately(now_s)]
        if len(times) < 2:
            return 0.0
        if now_s - times[-1] > SILENT_AFTER_S:
            return len(times) / _WINDOW_S
        return (len(times) - 1) / max(times[-1] - times[0], 1e-9)

    def bytes_per_s(self, now_s: float) -> float:
        """Of the last seconds [B/s]."""
        return sum(size for _, size in self._lately(now_s)) / _WINDOW_S

    def silent_s(self, now_s: float) -> float:
        """How long nothing has come where something should have [s]; 0: all is well."""
        if not self.expected_hz:
            return 0.0
        age_s = now_s - self._arrivals[-1][0] if self._arrivals else now_s
        return age_s if age_s > max(SILENT_AFTER_S, SILENT_PERIODS / self.expected_hz) else 0.0

    def _lately(self, now_s: float) -> list[tuple[float, int]]:
        with self._lock:
            return [arrival for arrival in self._arrivals if arrival[0] >= now_s - _WINDOW_S]

    @property
    def recorded_hz(self) -> float:
        """Mean rate within the episodes [Hz]."""
        return self._intervals / self._recorded_s if self._recorded_s > 0.0 else 0.0
