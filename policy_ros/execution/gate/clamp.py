# SPDX-License-Identifier: Apache-2.0
"""Rows brought within the limits, in the order position, velocity, acceleration, jerk.

All arithmetic is that of the rows themselves: a velocity is the difference of two rows, so that what is promised holds
for what is published, not for a continuous motion between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion

Array = NDArray[np.float64]


def clamp(rows: Array, motion: Motion | None, limits: GateLimits, dt: float) -> Array:
    """Rows that a robot in ``motion`` may be commanded.

    Args:
        rows: ``(K, A)`` wanted.
        motion: what was commanded before row 0; None: nothing is known, only positions are limited.
        limits: per joint.
        dt: time between two rows [s].

    Returns:
        ``(K, A)``; rows that are within all limits are unchanged but for rounding.
    """
    inside = np.clip(rows, limits.lower + limits.margin, limits.upper - limits.margin)
    if motion is None:
        return inside
    motion = _known(motion, inside[0])
    if np.any(np.isfinite(limits.max_acceleration)) or np.any(np.isfinite(limits.max_jerk)):
        return _follow(inside, motion, limits, dt)
    step = np.asarray(limits.max_velocity) * dt
    before = motion.position
    for row in inside:
        np.clip(row, before - step, before + step, out=row)
        before = row
    return inside


def _known(motion: Motion, first: Array) -> Motion:
    """A joint of which nothing is known starts wherever it is wanted."""
    known = np.isfinite(motion.position)
    return motion if known.all() else Motion(np.where(known, motion.position, first), *_rates(motion))


def _rates(motion: Motion) -> tuple[Array, Array]:
    return motion.velocity, motion.acceleration


def _follow(rows: Array, motion: Motion, limits: GateLimits, dt: float) -> Array:
    """Follow the rows within all limits, and catch up with them without running past them."""
    reach = np.asarray(limits.max_acceleration) * dt
    bend = np.asarray(limits.max_jerk) * dt * dt
    lower, upper = limits.lower + limits.margin, limits.upper - limits.margin
    allowed = np.empty_like(rows)
    for index, course in enumerate(_courses(rows, motion, dt)):
        behind = rows[index] - course * dt - motion.position  # how far the robot is off, were the rows to stand still
        wanted = course + np.sign(behind) * stopping_speed(np.abs(behind), reach, dt)
        change = motion.acceleration * dt
        velocity = motion.velocity + np.clip(wanted - motion.velocity, change - bend, change + bend)
        velocity = np.clip(velocity, motion.velocity - reach, motion.velocity + reach)
        ahead = stopping_speed(np.maximum(upper - motion.position, 0.0), reach, dt)
        back = stopping_speed(np.maximum(motion.position - lower, 0.0), reach, dt)
        fastest = limits.max_velocity
        velocity = np.clip(velocity, -np.minimum(back, fastest), np.minimum(ahead, fastest))
        allowed[index] = motion.position + velocity * dt
        motion = Motion(allowed[index], velocity, (velocity - motion.velocity) / dt)
    return allowed


def _courses(rows: Array, motion: Motion, dt: float) -> Array:
    """Velocity ``(K, A)`` with which the rows themselves move; that of the robot where there is a single row."""
    if len(rows) == 1:
        return motion.velocity[None]
    steps = np.diff(rows, axis=0) / dt
    return np.concatenate((steps[:1], steps))


def stopping_speed(distance: Array, reach: Array, dt: float) -> Array:
    """Largest speed of the next row from which rows come to rest within ``distance``, ``(A,)`` [rad/s, m/s].

    With x = speed / reach and n = floor(x), a joint that slows down by ``reach`` per row still covers
    ``reach dt ((n + 1) x - n (n + 1) / 2)``; solved for x, exactly.

    Args:
        distance: 0 or more [rad, m].
        reach: change of speed from row to row, ``max_acceleration * dt``; infinite: it can stop at once.
        dt: time between two rows [s].
    """
    at_once = distance / dt
    finite = np.isfinite(reach) & np.isfinite(distance)
    unit = np.where(finite, reach * dt, 1.0)
    steps = np.where(finite, distance, 0.0) / unit
    whole = np.floor((np.sqrt(1.0 + 8.0 * steps) - 1.0) / 2.0)
    speed = np.where(finite, reach, 0.0) * (steps / (whole + 1.0) + whole / 2.0)
    return np.where(finite, speed, at_once)
