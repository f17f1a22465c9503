# SPDX-License-Identifier: Apache-2.0
"""Rows brought within the limits, joint by joint (:mod:`~policy_ros.execution.gate.joint`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate.joint import JointBounds, JointMotion, follow, keeps, limited_speed
from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion

Array = NDArray[np.float64]


class Clamp:
    """Brings rows within the limits. What follows from the limits alone is worked out once.

    Args:
        limits: per joint.
    """

    def __init__(self, limits: GateLimits) -> None:
        self._lower, self._upper = limits.lower + limits.margin, limits.upper - limits.margin
        rates = (limits.max_velocity, np.asarray(limits.max_acceleration), np.asarray(limits.max_jerk))
        speeds, *others = (bool(np.isfinite(rate).any()) for rate in rates)
        self._speeds, self._bends = speeds, any(others)
        self._limits = np.stack((self._lower, self._upper, *rates), axis=1)
        self._bounds: list[JointBounds] = []
        self._dt = 0.0  # of the bounds

    def __call__(self, rows: Array, motion: Motion | None, dt: float) -> Array:
        """Rows that a robot in ``motion`` may be commanded.

        Args:
            rows: ``(K, A)`` wanted.
            motion: what was commanded before row 0; None: nothing is known, only positions are limited.
            dt: time between two rows [s].

        Returns:
            ``(K, A)``; rows that are within all limits are unchanged but for rounding.
        """
        inside: Array = np.minimum(np.maximum(rows, self._lower), self._upper)  # np.clip takes four times as long
        if motion is None or not (self._speeds or self._bends):
            return inside
        if self._dt != dt:
            self._bounds, self._dt = [JointBounds.of(dt, *limits) for limits in self._limits.tolist()], dt
        motion = motion.known_from(inside[0])
        columns = inside.T.tolist()
        if not self._bends:
            starts = zip(columns, motion.position.tolist(), self._bounds, strict=True)
            return _rows(limited_speed(*start) for start in starts)
        for index, joint in enumerate(zip(columns, _joints(motion), self._bounds, strict=True)):
            if not keeps(*joint):
                inside[:, index] = follow(*joint)
        return inside


def _joints(motion: Motion) -> Iterator[JointMotion]:
    values = (motion.position, motion.velocity, motion.acceleration, motion.wanted, motion.course)
    return zip(*(value.tolist() for value in values), strict=True)


def _rows(columns: Iterable[list[float]]) -> Array:
    return np.array(list(zip(*columns, strict=True)))
