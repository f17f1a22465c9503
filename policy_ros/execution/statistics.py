# SPDX-License-Identifier: Apache-2.0
"""Percentiles over the last minute."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from math import nan

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Newest value, median and 99th percentile; NaN where nothing was measured."""

    newest: float = nan
    p50: float = nan
    p99: float = nan
    count: int = 0


class SampleWindow:
    """Bounded window of timed samples; appending is cheap, percentiles are computed when asked for. Thread-safe.

    Args:
        duration_s: samples older than this leave the window [s].
        capacity: at most so many samples are kept; the default holds a minute at 50 Hz.
    """

    def __init__(self, duration_s: float = 60.0, capacity: int = 3000) -> None:
        self._duration_ns = int(duration_s * 1e9)
        self._samples: deque[tuple[int, float]] = deque(maxlen=capacity)
        self._lock = threading.Lock()

    def append(self, value: float, now_ns: int) -> None:
        """Add one sample."""
        with self._lock:
            self._samples.append((now_ns, value))
            self._drop_old(now_ns)

    def summary(self, now_ns: int) -> Summary:
        """Summary of the samples that are still within the window at ``now_ns``."""
        with self._lock:
            self._drop_old(now_ns)
            values = [value for _, value in self._samples]
        if not values:
            return Summary()
        p50, p99 = np.percentile(values, (50.0, 99.0))
        return Summary(values[-1], float(p50), float(p99), len(values))

    def clear(self) -> None:
        """Forget all samples."""
        with self._lock:
            self._samples.clear()

    def _drop_old(self, now_ns: int) -> None:
        while self._samples and now_ns - self._samples[0][0] > self._duration_ns:
            self._samples.popleft()
