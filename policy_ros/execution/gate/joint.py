# SPDX-License-Identifier: Apache-2.0
"""One joint within its limits, in the order position, velocity, acceleration, jerk.

All arithmetic is that of the rows themselves: a velocity is the difference of two rows, so that what is promised holds
for what is published, not for a continuous motion between.

A robot that cannot keep up lags behind the rows. It catches up at the speed of the rows plus what it can still brake
away before it reaches them (:func:`stopping_speed`), so that it neither runs past rows that stop nor swings around
rows that move. The same bound towards a position limit lets every joint stop in front of it.

Everything here is plain numbers: for the few joints of a robot they are several times as fast as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNLIMITED = 1e150  # stands for an infinite limit where a limit is divided by or subtracted
_ON_TRACK = 1e-9  # [rad, m] closer to the wanted row than this is there
# With a jerk limit the way back to the rows is planned with less than the limits, or it could not be followed: a speed
# of g (jerk distance²)^(1/3) becomes one of c for g, c = g + 2/9 c⁴, which has no solution beyond g = 0.78.
_GENTLE_JERK = 0.5
_GENTLE_ACCELERATION = 0.5


JointMotion = tuple[float, float, float, float, float]
"""A joint of :class:`~policy_ros.execution.gate.motion.Motion`: position, velocity, acceleration, wanted, course."""


@dataclass(frozen=True, slots=True)
class JointBounds:
    """Limits of a joint as the arithmetic needs them, finite.

    Attributes:
        lower, upper: positions with the margin [rad, m].
        clear_lower, clear_upper: between these every speed within the limit can be braked away in time [rad, m].
        speed: largest [rad/s, m/s].
        reach: largest change of the velocity from row to row [rad/s, m/s].
        bend: largest change of the acceleration from row to row [rad/s², m/s²].
        dt: time between two rows [s].
    """

    lower: float
    upper: float
    clear_lower: float
    clear_upper: float
    speed: float
    reach: float
    bend: float
    dt: float

    @classmethod
    def of(cls, dt: float, lower: float, upper: float, speed: float, acceleration: float, jerk: float) -> JointBounds:
        """From limits that may be infinite."""
        lower, upper, speed = max(lower, -UNLIMITED), min(upper, UNLIMITED), min(speed, UNLIMITED)
        reach, bend = min(acceleration * dt, UNLIMITED), min(jerk * dt, UNLIMITED)
        way = (speed / reach + 2.0) * speed * dt  # more than braking takes
        return cls(lower, upper, lower + way, upper - way, speed, reach, bend, dt)


def limited_speed(rows: Sequence[float], position: float, bounds: JointBounds) -> list[float]:
    """Rows that are no faster than the limit, for a joint without the limits of acceleration and jerk."""
    allowed, step = [], bounds.speed * bounds.dt
    for row in rows:
        position = _clip(row, position - step, position + step)
        allowed.append(position)
    return allowed


def keeps(rows: Sequence[float], motion: JointMotion, bounds: JointBounds) -> bool:
    """Whether all rows, which are within the position limits, are within the others too: the usual case, and cheap."""
    position, velocity, acceleration, wanted, _ = motion
    if abs(wanted - position) > _ON_TRACK:
        return False
    clear_lower, clear_upper, speed = bounds.clear_lower, bounds.clear_upper, bounds.speed
    reach, bend, dt = bounds.reach, bounds.bend, bounds.dt
    for row in rows:
        before, velocity = velocity, (row - position) / dt
        change = velocity - before
        if abs(velocity) > speed or abs(change) > reach:
            return False
        if bend < UNLIMITED:
            before, acceleration = acceleration, change / dt
            if abs(acceleration - before) > bend:
                return False
        clear = clear_lower < position < clear_upper
        if not clear and velocity != braked(velocity, bounds.upper - position, position - bounds.lower, reach, dt):
            return False
        position = row
    return True


def follow(rows: Sequence[float], motion: JointMotion, bounds: JointBounds) -> list[float]:
    """Follow the rows within all limits, and catch up with them without running past them."""
    lower, upper, speed, reach, dt = bounds.lower, bounds.upper, bounds.speed, bounds.reach, bounds.dt
    position, now, acceleration, wanted, course = motion
    wanted = _clip(wanted, lower, upper)
    allowed = []
    for row in rows:
        motion = (position, now, acceleration, wanted, course)
        behind, course = wanted - position, (row - wanted) / dt
        approach = stopping_speed(abs(behind), reach, dt)
        velocity = course + math.copysign(approach, behind)
        if bounds.bend < UNLIMITED:
            velocity = _bent(velocity, motion, course, approach, bounds)
        velocity = _clip(_clip(velocity, now - reach, now + reach), -speed, speed)
        if not bounds.clear_lower < position < bounds.clear_upper:
            velocity = braked(velocity, upper - position, position - lower, reach, dt)
        position, acceleration, now, wanted = position + velocity * dt, (velocity - now) / dt, velocity, row
        allowed.append(position)
    return allowed


def _bent(velocity: float, motion: JointMotion, course: float, approach: float, bounds: JointBounds) -> float:
    """The velocity under the jerk limit, which gives way where the robot would swing around the rows otherwise.

    The acceleration is that of the rows themselves, and what leads to the speed of a gentle approach.

    Args:
        velocity: without the jerk limit.
        motion: before.
        course: velocity of the rows that are asked for.
        approach: largest speed towards them from which the robot can still stop there.
        bounds: all limits.
    """
    speed, reach, bend, dt = bounds.speed, bounds.reach, bounds.bend, bounds.dt
    position, now, acceleration, wanted, course_before = motion
    behind = wanted - position
    distance = abs(behind)
    there = distance <= _ON_TRACK
    if there and abs(now - course_before) > _ON_TRACK / dt:
        return velocity  # it arrives
    gentle = min(
        stopping_speed(distance, _GENTLE_ACCELERATION * reach, dt),
        _GENTLE_JERK * float(np.cbrt(bend / dt * distance * distance)),
    )
    turn = _clip(course - course_before, -reach, reach)
    off = course + math.copysign(gentle, behind) - now - turn
    change = turn / dt + math.copysign(stopping_speed(abs(off), bend, dt), off)
    change = braked(change, speed - now, speed + now, bend, dt)
    if there:  # an acceleration that led there may end at once, or it would lead away again
        return now + _clip(change, min(acceleration - bend, 0.0), max(acceleration + bend, 0.0)) * dt
    bent = now + _clip(change, acceleration - bend, acceleration + bend) * dt
    off = bent - course
    return course + (min(off, approach) if behind > 0.0 else max(off, -approach))


def _clip(value: float, lower: float, upper: float) -> float:
    """As ``np.clip``; what is no number stays none, which the gate refuses in the end."""
    if value < lower:
        value = lower
    return upper if value > upper else value


def braked(speed: float, ahead: float, back: float, reach: float, dt: float) -> float:
    """A speed, or the largest one in its direction from which rows come to rest within the room that there is.

    Args:
        speed: of the next row [rad/s, m/s].
        ahead, back: room in positive and in negative direction, none where it is negative [rad, m].
        reach, dt: as for :func:`stopping_speed`.
    """
    if speed > 0.0:
        return min(speed, stopping_speed(ahead, reach, dt)) if ahead > 0.0 else 0.0
    if speed < 0.0:
        return max(speed, -stopping_speed(back, reach, dt)) if back > 0.0 else 0.0
    return speed


def stopping_speed(distance: float, reach: float, dt: float) -> float:
    """Largest speed of the next row from which rows come to rest within ``distance`` [rad/s, m/s].

    With x = speed / reach and n = floor(x), a joint that slows down by ``reach`` per row still covers
    ``reach dt ((n + 1) x - n (n + 1) / 2)``; solved for x, exactly. One derivative higher it is the largest
    acceleration from which a velocity can be met.

    Args:
        distance: 0 or more [rad, m].
        reach: change of speed from row to row, ``max_acceleration * dt``; finite.
        dt: time between two rows [s].
    """
    steps = distance / (reach * dt)
    whole = (math.sqrt(1.0 + 8.0 * steps) - 1.0) * 0.5 // 1.0
    return reach * (steps / (whole + 1.0) + 0.5 * whole)
