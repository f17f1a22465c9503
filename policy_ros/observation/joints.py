# SPDX-License-Identifier: Apache-2.0
"""Joint states merged by name: any subset, any order, from any number of publishers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.observation.conflicts import Conflict, JointConflictDetector
from policy_ros.observation.statistics import DropCause


@dataclass(frozen=True)
class JointSnapshot:
    """All joints together.

    Attributes:
        positions: ``(J,)`` float64, robot units [rad, m].
        stamp_ns: stamp of the joint that was heard of the longest ago.
    """

    positions: NDArray[np.float64]
    stamp_ns: int


class JointMerger:
    """Keeps the newest position of every joint with a stamp per joint.

    A message is taken whole or not at all: one that is malformed, holds a value that is not finite, or contradicts
    another source changes nothing. Only joints that have a newer position already are left out of it.

    Args:
        names: J joint names, in the order of the snapshot.
        tolerance_rad: sources that differ by more than this conflict [rad, m].
        window_s: see :class:`policy_ros.observation.conflicts.AlternationDetector` [s].
    """

    def __init__(self, names: Sequence[str], *, tolerance_rad: float = 0.02, window_s: float = 0.1) -> None:
        self._names = tuple(names)
        self._tolerance_rad = tolerance_rad
        self._window_s = window_s
        self.clear()

    def clear(self) -> None:
        """Forget all positions and conflicts."""
        self._index = {name: i for i, name in enumerate(self._names)}
        self._positions = np.full(len(self._names), np.nan)
        self._stamps_ns: list[int | None] = [None] * len(self._names)
        self._newest_ns: int | None = None
        self._message_names: tuple[str, ...] = ()
        self._layout: list[tuple[int, int]] = []  # of such messages: place in the message, index of the joint
        self.forgive()

    def concerns(self, names: Sequence[str]) -> bool:
        """True when a message with these names holds one of the joints."""
        return any(name in self._index for name in names)

    def update(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int, source: str = ""
    ) -> DropCause | None:
        """Merge one message; joints that are not configured are ignored.

        Args:
            names: joint names of the message.
            positions: their positions, as many [rad, m].
            stamp_ns: when they were measured.
            source: who says so, where that is known.

        Returns:
            Why the message, or with ``OUT_OF_ORDER`` part of it, was dropped; None when it was taken.
        """
        if len(names) != len(positions) or not self._lay_out(names):
            return DropCause.MALFORMED
        values = [(i, float(positions[place])) for place, i in self._layout]
        if not all(map(math.isfinite, [value for _, value in values])):
            return DropCause.NON_FINITE
        newer = values
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            newer = [(i, value) for i, value in values if not self._is_older(i, stamp_ns)]
        # Also by what is out of order: of two sources whose clocks differ, one always is.
        if self._conflicting(values, stamp_ns, source):
            return DropCause.CONFLICTING
        for i, value in newer:
            self._positions[i] = value
            self._stamps_ns[i] = stamp_ns
        if newer is values and values:
            self._newest_ns = stamp_ns
        return DropCause.OUT_OF_ORDER if len(newer) < len(values) else None

    def explain(self, cause: DropCause, names: Sequence[str], positions: Sequence[float]) -> str:
        """One line on why ``update`` dropped this message."""
        if cause is DropCause.MALFORMED:
            return (
                f"expected one position for each of {len(names)} different joints, got {len(positions)}: {list(names)}"
            )
        if cause is DropCause.NON_FINITE:
            got = dict(zip(names, positions, strict=True))
            return f"expected finite positions, got {got}; check the joint state publisher"
        if cause is DropCause.OUT_OF_ORDER:
            return f"expected stamps that increase, got an older one for some of {', '.join(names)}"
        return "; ".join(str(c) for c in self.conflicts())

    def _lay_out(self, names: Sequence[str]) -> bool:
        """Find the joints of a message, mostly one with the names of the one before; False where a name comes twice."""
        if tuple(names) != self._message_names:
            if len(set(names)) != len(names):
                return False
            self._message_names = tuple(names)
            self._layout = [(place, self._index[name]) for place, name in enumerate(names) if name in self._index]
        return True

    def _is_older(self, index: int, stamp_ns: int) -> bool:
        known_ns = self._stamps_ns[index]
        return known_ns is not None and stamp_ns < known_ns

    def _conflicting(self, values: list[tuple[int, float]], stamp_ns: int, source: str) -> bool:
        found = False
        for i, value in values:
            detector = self._detectors[i]
            detector.observe(value, stamp_ns, source)
            found = found or detector.conflict is not None
        return found

    def snapshot(self) -> JointSnapshot | None:
        """All joints merged, or None while one of them was never seen. The array is the caller's."""
        stamps = [s for s in self._stamps_ns if s is not None]
        if not stamps or len(stamps) < len(self._names):
            return None
        return JointSnapshot(self._positions.copy(), min(stamps))

    def missing(self) -> tuple[str, ...]:
        """Joints never seen."""
        return tuple(n for n, stamp_ns in zip(self._names, self._stamps_ns, strict=True) if stamp_ns is None)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Joints with two sources; latched until ``forgive`` or ``clear``."""
        return tuple(d.conflict for d in self._detectors if d.conflict is not None)

    def forgive(self) -> None:
        """Forget conflicts and what led to them; positions and stamps stay."""
        self._detectors = [JointConflictDetector(n, self._tolerance_rad, self._window_s) for n in self._names]
