# SPDX-License-Identifier: Apache-2.0
"""The inference delay as a count of consumed steps, never a guess from the wall clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


def is_feasible(delay: int, execution_horizon: int, horizon: int) -> bool:
    """Whether chunks can follow one another without a gap: ``d <= s <= H - d``.

    Source: Black, Galliker, Levine, "Real-Time Execution of Action Chunking Flow Policies", arXiv 2506.07339.
    """
    return delay <= execution_horizon <= horizon - delay


@dataclass(frozen=True)
class MeasuredDelay:
    """What one inference cost.

    Attributes:
        consumed: d, steps executed while the inference ran.
        starved: control ticks on which no row was left to execute meanwhile; consumed steps alone can never exceed the
            rows that were there, so they would hide an inference that is too slow.
    """

    consumed: int
    starved: int = 0

    @property
    def needed(self) -> int:
        """Steps that would have been consumed, had there been rows."""
        return self.consumed + self.starved


class DelayWindow:
    """The delays of the newest inferences.

    The first inference of an epoch is not to be recorded: nothing is consumed while it runs, and it carries
    compilation and cold caches.

    Args:
        capacity: b, how many are kept.
    """

    def __init__(self, capacity: int = 10) -> None:
        self._delays: deque[MeasuredDelay] = deque(maxlen=capacity)

    @property
    def newest(self) -> MeasuredDelay:
        """The newest measured delay; zero before the first."""
        return self._delays[-1] if self._delays else MeasuredDelay(0)

    @property
    def all(self) -> tuple[MeasuredDelay, ...]:
        """Oldest first."""
        return tuple(self._delays)

    def record(self, delay: MeasuredDelay) -> None:
        """Add the delay of a chunk that took over."""
        self._delays.append(delay)

    def clear(self) -> None:
        """Forget all, for a new epoch."""
        self._delays.clear()
