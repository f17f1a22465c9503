# SPDX-License-Identifier: Apache-2.0
"""What the commands say: their periods, and whether each step is one that the gate allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAP_PERIODS = 5.0  # a longer one is a stop, from which the robot starts anew
LATE_PERIODS = 1.5  # a shorter one is no hold: that is at least one period without a command
_ROUNDING = 1e-3  # of a limit: commands are published with all their digits, but a difference of two has fewer


@dataclass(frozen=True)
class Periods:
    """Between commands, as multiples of the nominal one.

    Attributes:
        count: periods.
        p50, p99, longest: of them.
        missed: commands that did not come at all.
    """

    count: int
    p50: float
    p99: float
    longest: float
    missed: int

    @classmethod
    def of(cls, times_s: Sequence[float], spans_s: Sequence[tuple[float, float]], nominal_s: float) -> Periods:
        """Of the periods that end within one of the spans.

        Args:
            times_s: when commands were published.
            spans_s: begin and end of each.
            nominal_s: the control period.
        """
        times = np.asarray(times_s)
        ratios, ends = np.diff(times) / nominal_s, times[1:]
        within = np.zeros(len(ends), dtype=np.bool_)
        for begin_s, end_s in spans_s:
            within |= (ends >= begin_s) & (ends < end_s)
        chosen = ratios[within]
        if not len(chosen):
            return cls(0, *(float("nan"),) * 3, 0)
        p50, p99 = np.percentile(chosen, (50.0, 99.0))
        missed = int(np.sum(np.maximum(np.rint(chosen) - 1.0, 0.0)))
        return cls(len(chosen), float(p50), float(p99), float(chosen.max()), missed)


@dataclass(frozen=True)
class Steps:
    """Largest speed and acceleration of the commands, as parts of the limits; more than 1 breaks them."""

    speed: float
    acceleration: float
    beyond: int


def judge_steps(
    times_s: Sequence[float],
    rows: NDArray[np.float64],
    max_velocity: NDArray[np.float64],
    max_acceleration: NDArray[np.float64],
    nominal_s: float,
    holds: Sequence[tuple[float, int]] = (),
) -> Steps:
    """Every command against the one before it, by the nominal period, as the gate does.

    Args:
        times_s: when they were published; after a gap the robot starts anew.
        rows: ``(N, A)``.
        max_velocity, max_acceleration: ``(A,)`` limits [rad/s, rad/s²].
        nominal_s: the control period.
        holds: time [s] and count of holds so far, in the order of time; it starts anew after a hold too, however
            short: the command before it came to rest by itself.
    """
    breaks = _starts(np.asarray(times_s), nominal_s, holds)
    speed = acceleration = 0.0
    beyond = 0
    for part in np.split(rows, breaks):
        velocity = np.diff(part, axis=0) / nominal_s
        shares = np.abs(velocity) / max_velocity, np.abs(np.diff(velocity, axis=0)) / nominal_s / max_acceleration
        speed, acceleration = (
            max(old, float(share.max(initial=0.0))) for old, share in zip((speed, acceleration), shares, strict=True)
        )
        beyond += sum(int(np.sum(np.any(share > 1.0 + _ROUNDING, axis=1))) for share in shares)
    return Steps(speed, acceleration, beyond)


def _starts(times: NDArray[np.float64], nominal_s: float, holds: Sequence[tuple[float, int]]) -> NDArray[np.intp]:
    """Indices of commands before which the robot was at rest."""
    starts = np.diff(times) > GAP_PERIODS * nominal_s
    if holds:
        told, counts = np.array([time for time, _ in holds]), np.array([count for _, count in holds])
        before = np.maximum(np.searchsorted(told, times[:-1]) - 1, 0)
        after = np.minimum(np.searchsorted(told, times[1:], side="right"), len(told) - 1)
        late = np.diff(times) > LATE_PERIODS * nominal_s
        starts |= late & (counts[after] > counts[before])
    return np.flatnonzero(starts) + 1
