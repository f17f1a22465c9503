# SPDX-License-Identifier: Apache-2.0
"""The inference delay as a count of consumed steps, never a guess from the wall clock."""

from __future__ import annotations

from dataclasses import dataclass


def is_feasible(delay: int, execution_horizon: int, horizon: int) -> bool:
    """Whether chunks can follow one another without a gap: ``d <= s <= H - d``.

    An inference cannot start before the previous one has returned, so an execution horizon below the delay is in effect
    the delay.

    Source: Black, Galliker, Levine, "Real-Time Execution of Action Chunking Flow Policies", arXiv 2506.07339.
    """
    return max(delay, execution_horizon) <= horizon - delay


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
