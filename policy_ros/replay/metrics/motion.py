# SPDX-License-Identifier: Apache-2.0
"""How smooth commands are: steps at the seams of chunks, accelerations, jerks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.metrics.grid import FloatArray, TickGrid
from policy_ros.replay.metrics.rounding import floats, rounded_or_none
from policy_ros.replay.trace import NO_CHUNK


@dataclass(frozen=True)
class SeamMetrics:
    """Steps of the command where one chunk follows another.

    Attributes:
        jumps: largest step of a joint, of every seam.
        largest: A values, largest step of each joint; None without a seam.
    """

    jumps: Distribution
    largest: tuple[float, ...] | None

    @staticmethod
    def of(grid: TickGrid) -> SeamMetrics:
        """Between neighbouring commands whose chunks differ."""
        steps = np.abs(np.diff(grid.commands, axis=0))
        before, after = grid.chunks[:-1], grid.chunks[1:]
        seams = (before != after) & (before != NO_CHUNK) & (after != NO_CHUNK) & np.isfinite(steps).all(axis=1)
        found = steps[seams]
        return SeamMetrics(Distribution.of(found.max(axis=1)), floats(found.max(axis=0)) if len(found) else None)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> SeamMetrics:
        """From what ``dataclasses.asdict`` made."""
        largest = value["largest"]
        return SeamMetrics(Distribution.from_json(value["jumps"]), None if largest is None else tuple(largest))


@dataclass(frozen=True)
class PeakMetrics:
    """Largest magnitudes within uninterrupted runs of commands, of every joint.

    Attributes:
        acceleration: A values [rad/s^2, m/s^2]; None for a joint without three commands in a row.
        jerk: A values [rad/s^3, m/s^3]; None for a joint without four.
    """

    acceleration: tuple[float | None, ...]
    jerk: tuple[float | None, ...]

    @staticmethod
    def of(commands: FloatArray, dt_s: float) -> PeakMetrics:
        """Of commands ``(N, A)``, a period of ``dt_s`` [s] apart; NaN ends a run."""
        return PeakMetrics(_peaks(commands, 2, dt_s), _peaks(commands, 3, dt_s))

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> PeakMetrics:
        """From what ``dataclasses.asdict`` made."""
        return PeakMetrics(tuple(value["acceleration"]), tuple(value["jerk"]))


def _peaks(commands: FloatArray, order: int, dt_s: float) -> tuple[float | None, ...]:
    if len(commands) <= order:
        return tuple(None for _ in commands.T)
    differences: FloatArray = (
        np.abs(np.diff(commands, order, axis=0)) / dt_s**order
    )  # NaN from a gap spreads to all it touches
    peaks: FloatArray = np.max(differences, axis=0, initial=-np.inf, where=np.isfinite(differences))
    return tuple(rounded_or_none(float(peak)) for peak in peaks)
