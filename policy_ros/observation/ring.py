# SPDX-License-Identifier: Apache-2.0
"""A bounded buffer of stamped samples."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Sample(Generic[T]):
    """A value and the moment it was taken [ns]."""

    stamp_ns: int
    value: T


def _stamp(sample: Sample[T]) -> int:
    return sample.stamp_ns


class Ring(Generic[T]):
    """The newest samples of one stream in the order of their stamps.

    Bounded twice: by time, so that a slow stream of large images holds few of them, and by count, so that a fast stream
    cannot grow it. One sample at or before the start of the time span is kept: it is what was valid there.

    Args:
        span_ns: how far behind the newest sample samples are kept.
        capacity: the most samples held, at least 1.
    """

    def __init__(self, span_ns: int, capacity: int) -> None:
        if span_ns < 0 or capacity < 1:
            raise ValueError(f"expected span_ns >= 0 and capacity >= 1, got {span_ns} and {capacity}")
        self._span_ns = span_ns
        self._samples: deque[Sample[T]] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample[T]]:
        return iter(self._samples)

    def append(self, stamp_ns: int, value: T) -> bool:
        """Add a sample; one with the newest's stamp replaces it.

        Returns:
            False when the sample is older than the newest: it is not stored.
        """
        if self._samples:
            newest_ns = self._samples[-1].stamp_ns
            if stamp_ns < newest_ns:
                return False
            if stamp_ns == newest_ns:
                self._samples.pop()
        self._samples.append(Sample(stamp_ns, value))
        horizon_ns = stamp_ns - self._span_ns
        while len(self._samples) > 1 and self._samples[1].stamp_ns <= horizon_ns:
            self._samples.popleft()
        return True

    def newest(self) -> Sample[T] | None:
        """The sample with the latest stamp."""
        return self._samples[-1] if self._samples else None

    def nearest(self, stamp_ns: int) -> Sample[T] | None:
        """The sample closest to a moment; of two equally close ones the older."""
        if not self._samples:
            return None
        after = bisect_left(self._samples, stamp_ns, key=_stamp)
        if after == 0:
            return self._samples[0]
        before = self._samples[after - 1]
        if after == len(self._samples):
            return before
        following = self._samples[after]
        return before if stamp_ns - before.stamp_ns <= following.stamp_ns - stamp_ns else following

    def at_or_before(self, stamp_ns: int) -> Sample[T] | None:
        """The latest sample that is not later than a moment."""
        index = bisect_right(self._samples, stamp_ns, key=_stamp)
        return self._samples[index - 1] if index else None

    def remove(self, sample: Sample[T]) -> bool:
        """Take one sample out, e.g. because its content proved unusable; False when it is no longer held."""
        try:
            self._samples.remove(sample)  # samples compare by identity
        except ValueError:
            return False
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._samples.clear()
