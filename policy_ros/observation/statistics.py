# SPDX-License-Identifier: Apache-2.0
"""Counting what arrives on a stream and why samples are dropped."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

RATE_WINDOW_NS = 2_000_000_000
MAX_TIMES = 4096  # bounds the memory of a stream; beyond 2 kHz the rate is taken over a shorter window


class DropCause(str, Enum):
    """Why a sample was not used; the names are those of the ``dropped_*`` fields of ``PolicyStatus``."""

    NON_FINITE = "non_finite"
    MALFORMED = "malformed"
    FUTURE = "future"
    OUT_OF_ORDER = "out_of_order"
    CONFLICTING = "conflicting"


@dataclass(frozen=True)
class StreamStatistics:
    """What one stream delivered.

    Attributes:
        received: samples that arrived since the assembler was made, dropped ones included.
        rate_hz: arrivals per second over the last two seconds.
        age_s: age of the newest usable sample [s]; ``inf`` when there is none.
        dropped: of the received ones, how many were dropped.
        frozen_s: for how long a camera has been sending the same picture, once that counts as frozen; else 0 [s].
    """

    received: int
    rate_hz: float
    age_s: float
    dropped: int = 0
    frozen_s: float = 0.0


class ArrivalCounter:
    """Counts the arrivals of one stream and tells their rate from the receive times."""

    def __init__(self) -> None:
        self.received = 0
        self.dropped = 0
        self._times_ns: deque[int] = deque(maxlen=MAX_TIMES)

    def arrived(self, receive_ns: int) -> None:
        """Count one arrival."""
        self.received += 1
        if self._times_ns and receive_ns < self._times_ns[-1]:
            self._times_ns.clear()  # the receiving clock went back
        self._times_ns.append(receive_ns)
        while self._times_ns[0] < receive_ns - 2 * RATE_WINDOW_NS:
            self._times_ns.popleft()

    def rate_hz(self, now_ns: int) -> float:
        """Rate over the last two seconds [Hz]; it falls towards 0 when arrivals cease."""
        times = [t for t in self._times_ns if now_ns - RATE_WINDOW_NS < t <= now_ns]
        if len(times) < 2:
            return 0.0
        mean_interval_ns = (times[-1] - times[0]) / (len(times) - 1)
        # An overdue arrival counts as an interval of its own, so that the rate of a stalled stream decays.
        overdue_ns = max(0.0, now_ns - times[-1] - mean_interval_ns)
        elapsed_ns = times[-1] - times[0] + overdue_ns
        return (len(times) - 1) * 1e9 / elapsed_ns if elapsed_ns > 0 else 0.0

    def forget_times(self) -> None:
        """Start the rate anew, e.g. after a clock jump; the count stays."""
        self._times_ns.clear()
