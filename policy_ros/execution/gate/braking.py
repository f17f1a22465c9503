# SPDX-License-Identifier: Apache-2.0
"""The way from moving to resting, for a robot that is to hold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate.joint import UNLIMITED, braked
from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion

Array = NDArray[np.float64]

LONGEST_RAMP_S = 1.0
_AT_REST = 1e-6  # slower than this [rad/s, m/s] needs no ramp
_ROUNDING = 1e-6  # of a number of rows


def ramp_down(motion: Motion, limits: GateLimits, dt: float) -> Array:
    """Rows ``(N, A)`` on which the velocity falls evenly to zero, for all joints at the same time; none if it is zero.

    They take ``ramp_down_s``, longer where the acceleration limits ask for it, but never more than ``LONGEST_RAMP_S``.
    The row that would repeat the last one is left out. A joint that would run into its position limit brakes harder.
    """
    speed = np.abs(motion.velocity)
    if not np.any(speed > _AT_REST):
        return np.zeros((0, len(speed)))
    needed_s = max(limits.ramp_down_s, float(np.max(speed / limits.max_acceleration)))
    steps = math.ceil(min(needed_s, LONGEST_RAMP_S) / dt - _ROUNDING)
    velocities = (1.0 - np.arange(1, steps) / max(steps, 1))[:, None] * motion.velocity
    rows: Array = motion.position + np.cumsum(velocities, axis=0) * dt
    if np.all((rows >= limits.lower + limits.margin) & (rows <= limits.upper - limits.margin)):
        return rows
    return _before_limits(
        velocities, motion.position, limits, np.maximum(_reach(limits, dt), speed / max(steps, 1)), dt
    )


def longest_ramp_s(limits: GateLimits) -> float:
    """Upper bound of the duration of :func:`ramp_down` [s]."""
    braking = [  # an unlimited acceleration needs no time, at whatever speed
        speed / acceleration
        for speed, acceleration in zip(limits.max_velocity, np.asarray(limits.max_acceleration), strict=True)
        if math.isfinite(acceleration)
    ]
    return float(min(max(limits.ramp_down_s, *braking, 0.0), LONGEST_RAMP_S))


def _reach(limits: GateLimits, dt: float) -> Array:
    reach: Array = np.minimum(np.asarray(limits.max_acceleration) * dt, UNLIMITED)
    return reach


def _before_limits(velocities: Array, position: Array, limits: GateLimits, reach: Array, dt: float) -> Array:
    """The same rows for joints that stop at their position limits; one that is outside goes no further."""
    lower = np.maximum(limits.lower + limits.margin, -UNLIMITED)
    upper = np.minimum(limits.upper - limits.margin, UNLIMITED)
    limits_of = list(zip(lower.tolist(), upper.tolist(), reach.tolist(), strict=True))
    rows, places = [], position.tolist()
    for row in velocities.tolist():
        places = [
            place + braked(velocity, high - place, place - low, change, dt) * dt
            for place, velocity, (low, high, change) in zip(places, row, limits_of, strict=True)
        ]
        rows.append(places)
    return np.array(rows)
