# SPDX-License-Identifier: Apache-2.0
"""Rows brought within the limits, in the order position, velocity, acceleration, jerk.

All arithmetic is that of the rows themselves: a velocity is the difference of two rows, so that what is promised holds
for what is published, not for a continuous motion between.

A robot that cannot keep up lags behind the rows. It catches up at the speed of the rows plus what it can still brake
away before it reaches them (:func:`stopping_speed`), so that it neither runs past rows that stop nor swings around
rows that move. The same bound towards a position limit lets every joint stop in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution.gate.limits import GateLimits
from policy_ros.execution.gate.motion import Motion

Array = NDArray[np.float64]

_HUGE = 1e150  # stands for an infinite limit where a limit is divided by or subtracted
_ON_TRACK = 1e-9  # [rad, m] closer to the wanted row than this is there
# With a jerk limit the way back to the rows is planned with less than the limits, or it could not be followed: a speed
# of g (jerk distance²)^(1/3) becomes one of c for g, c = g + 2/9 c⁴, which has no solution beyond g = 0.78.
_GENTLE_JERK = 0.5
_GENTLE_ACCELERATION = 0.5


class Clamp:
    """Brings rows within the limits. What follows from the limits alone is worked out once.

    Args:
        limits: per joint.
    """

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._lower, self._upper = limits.lower + limits.margin, limits.upper - limits.margin
        rates = (np.asarray(limits.max_acceleration), np.asarray(limits.max_jerk))
        self._bends = any(bool(np.isfinite(rate).any()) for rate in rates)
        self._speeds = bool(np.isfinite(limits.max_velocity).any())
        self._bounds: _Bounds | None = None

    def __call__(self, rows: Array, motion: Motion | None, dt: float) -> Array:
        """Rows that a robot in ``motion`` may be commanded.

        Args:
            rows: ``(K, A)`` wanted.
            motion: what was commanded before row 0; None: nothing is known, only positions are limited.
            dt: time between two rows [s].

        Returns:
            ``(K, A)``; rows that are within all limits are unchanged but for rounding.
        """
        inside = _clip(rows, self._lower, self._upper)
        if motion is None:
            return inside
        motion = motion.known_from(inside[0])
        if self._bends:
            if self._bounds is None or self._bounds.dt != dt:
                self._bounds = _Bounds.of(self._limits, dt)
            return inside if _keeps(inside, motion, self._bounds) else _follow(inside, motion, self._bounds)
        if not self._speeds:
            return inside
        step = np.asarray(self._limits.max_velocity) * dt
        before = motion.position
        for row in inside:
            row[:] = before = _clip(row, before - step, before + step)
        return inside


@dataclass(frozen=True)
class _Bounds:
    """The limits as the arithmetic needs them, finite, ``(A,)``; ``reach`` and ``bend`` are changes from row to row."""

    lower: Array
    upper: Array
    speed: Array
    reach: Array  # of the velocity
    bend: Array  # of the acceleration
    bends: bool  # whether a joint has a jerk limit
    dt: float

    @classmethod
    def of(cls, limits: GateLimits, dt: float) -> _Bounds:
        return cls(
            np.maximum(limits.lower + limits.margin, -_HUGE),
            np.minimum(limits.upper - limits.margin, _HUGE),
            np.minimum(limits.max_velocity, _HUGE),
            np.minimum(np.asarray(limits.max_acceleration) * dt, _HUGE),
            np.minimum(np.asarray(limits.max_jerk) * dt, _HUGE),
            bool(np.isfinite(limits.max_jerk).any()),
            dt,
        )


def _keeps(rows: Array, motion: Motion, bounds: _Bounds) -> bool:
    """Whether all rows, which are within the position limits, are within the others too: the usual case, and cheap."""
    dt = bounds.dt
    if (np.abs(motion.wanted - motion.position) > _ON_TRACK).any():
        return False
    places = np.vstack((motion.position, rows))
    velocity = np.diff(places, axis=0) / dt
    change = np.diff(np.vstack((motion.velocity, velocity)), axis=0)
    if (np.abs(velocity) > bounds.speed).any() or (np.abs(change) > bounds.reach).any():
        return False
    if bounds.bends:
        acceleration = np.vstack((motion.acceleration, change / dt))
        if (np.abs(np.diff(acceleration, axis=0)) > bounds.bend).any():
            return False
    rooms = np.maximum(np.stack((bounds.upper - places[:-1], places[:-1] - bounds.lower)), 0.0)
    ahead, back = stopping_speed(rooms, bounds.reach, dt)
    return not ((velocity > ahead).any() or (velocity < -back).any())


def _follow(rows: Array, motion: Motion, bounds: _Bounds) -> Array:
    """Follow the rows within all limits, and catch up with them without running past them."""
    dt, reach = bounds.dt, bounds.reach
    allowed = np.empty_like(rows)
    asked = _clip(motion.wanted, bounds.lower, bounds.upper)
    motion = Motion(motion.position, motion.velocity, motion.acceleration, asked, motion.course)
    for index, row in enumerate(rows):
        course = (row - motion.wanted) / dt
        behind = motion.wanted - motion.position
        ways = np.stack((np.abs(behind), bounds.upper - motion.position, motion.position - bounds.lower))
        approach, ahead, back = stopping_speed(np.maximum(ways, 0.0), reach, dt)
        velocity = course + np.sign(behind) * approach
        if bounds.bends:
            velocity = np.where(bounds.bend < _HUGE, _bent(velocity, motion, course, approach, bounds), velocity)
        velocity = _clip(velocity, motion.velocity - reach, motion.velocity + reach)
        velocity = _clip(velocity, -np.minimum(back, bounds.speed), np.minimum(ahead, bounds.speed))
        allowed[index] = motion.position + velocity * dt
        motion = Motion(allowed[index], velocity, (velocity - motion.velocity) / dt, row, course)
    return allowed


def _bent(velocity: Array, motion: Motion, course: Array, approach: Array, bounds: _Bounds) -> Array:
    """The velocity under the jerk limit, which gives way where the robot would swing around the rows otherwise.

    The acceleration is that of the rows themselves, and what leads to the speed of a gentle approach.

    Args:
        velocity: without the jerk limit.
        motion: before.
        course: velocity of the rows that are asked for.
        approach: largest speed towards them from which the robot can still stop there.
        bounds: all limits.
    """
    dt, bend, now = bounds.dt, bounds.bend, motion.velocity
    behind = motion.wanted - motion.position
    distance, side = np.abs(behind), np.sign(behind)
    there = distance <= _ON_TRACK
    gentle = stopping_speed(distance, _GENTLE_ACCELERATION * bounds.reach, dt)
    gentle = np.minimum(gentle, _GENTLE_JERK * np.cbrt(bend / dt * distance * distance))
    turn = _clip(course - motion.course, -bounds.reach, bounds.reach)
    off = course + side * gentle - now - turn
    ways = np.maximum(np.stack((np.abs(off), bounds.speed - now, bounds.speed + now)), 0.0)
    correction, up, down = stopping_speed(ways, bend, dt)
    acceleration = _clip(turn / dt + np.sign(off) * correction, -down, up)
    # Once at the rows an acceleration that led there may end at once, or it would lead away again.
    least = np.minimum(motion.acceleration - bend, np.where(there, 0.0, np.inf))
    most = np.maximum(motion.acceleration + bend, np.where(there, 0.0, -np.inf))
    bent = now + _clip(acceleration, least, most) * dt
    braked = course + side * np.minimum(side * (bent - course), approach)
    arriving = there & (np.abs(now - motion.course) > _ON_TRACK / dt)
    return np.where(arriving, velocity, np.where(there, bent, braked))


def _clip(values: Array, lower: Array, upper: Array) -> Array:
    """As ``np.clip``, which takes four times as long for a few values."""
    return np.minimum(np.maximum(values, lower), upper)


def stopping_speed(distance: Array, reach: Array, dt: float) -> Array:
    """Largest speed of the next row from which rows come to rest within ``distance``, ``(A,)`` [rad/s, m/s].

    With x = speed / reach and n = floor(x), a joint that slows down by ``reach`` per row still covers
    ``reach dt ((n + 1) x - n (n + 1) / 2)``; solved for x, exactly. One derivative higher it is the largest
    acceleration from which a velocity can be met.

    Args:
        distance: 0 or more [rad, m].
        reach: change of speed from row to row, ``max_acceleration * dt``; finite.
        dt: time between two rows [s].
    """
    steps = distance / (reach * dt)
    whole = np.floor((np.sqrt(1.0 + 8.0 * steps) - 1.0) * 0.5)
    speed: Array = reach * (steps / (whole + 1.0) + 0.5 * whole)
    return speed
