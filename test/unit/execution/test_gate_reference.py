# SPDX-License-Identifier: Apache-2.0
"""The gate beside the same rules written down for all joints at once, plainly and without any shortcut: equal bits."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.execution import Gate, GateLimits, Motion

HUGE, ON_TRACK, SAME = 1e150, 1e-9, 1e-9


def clip(values: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(values, lower), upper)


def stopping(distance: np.ndarray, reach: np.ndarray, dt: float) -> np.ndarray:
    steps = np.maximum(distance, 0.0) / (reach * dt)
    whole = np.floor((np.sqrt(1.0 + 8.0 * steps) - 1.0) * 0.5)
    return reach * (steps / (whole + 1.0) + 0.5 * whole)


class Reference:
    """What :class:`Gate` allows where nothing is refused."""

    def __init__(self, limits: GateLimits, dt: float) -> None:
        self.dt, self.limits = dt, limits
        self.lower = np.maximum(limits.lower + limits.margin, -HUGE)
        self.upper = np.minimum(limits.upper - limits.margin, HUGE)
        self.speed = np.minimum(limits.max_velocity, HUGE)
        self.reach = np.minimum(limits.max_acceleration * dt, HUGE)
        self.bend = np.minimum(limits.max_jerk * dt, HUGE)

    def __call__(self, rows: np.ndarray, motion: Motion) -> np.ndarray:
        wanted = rows.astype(np.float64)
        inside = clip(wanted, self.lower, self.upper)
        motion = motion.known_from(inside[0])
        if np.isinf([self.limits.max_acceleration, self.limits.max_jerk]).all():
            allowed = self.no_faster(inside, motion)
        else:
            allowed = np.where(self.keeps(inside, motion), inside, self.follow(inside, motion))
        return np.where(np.abs(allowed - wanted) > SAME, allowed, wanted)

    def no_faster(self, rows: np.ndarray, motion: Motion) -> np.ndarray:
        places = [motion.position]
        for row in rows:
            places.append(clip(row, places[-1] - self.speed * self.dt, places[-1] + self.speed * self.dt))
        return np.array(places[1:])

    def keeps(self, rows: np.ndarray, motion: Motion) -> np.ndarray:
        """Which joints are within their limits with all rows."""
        places = np.vstack((motion.position, rows))
        velocity = np.vstack((motion.velocity, np.diff(places, axis=0) / self.dt))
        change = np.diff(velocity, axis=0)
        acceleration = np.vstack((motion.acceleration, change / self.dt))
        within = (
            (np.abs(velocity[1:]) <= self.speed)
            & (np.abs(change) <= self.reach)
            & ((np.abs(np.diff(acceleration, axis=0)) <= self.bend) | (self.bend == HUGE))
            & (velocity[1:] <= stopping(self.upper - places[:-1], self.reach, self.dt))
            & (-velocity[1:] <= stopping(places[:-1] - self.lower, self.reach, self.dt))
        )
        return np.all(within, axis=0) & (np.abs(motion.wanted - motion.position) <= ON_TRACK)

    def follow(self, rows: np.ndarray, motion: Motion) -> np.ndarray:
        allowed, asked = [], clip(motion.wanted, self.lower, self.upper)
        motion = Motion(motion.position, motion.velocity, motion.acceleration, asked, motion.course)
        for row in rows:
            course, behind = (row - motion.wanted) / self.dt, motion.wanted - motion.position
            approach = stopping(np.abs(behind), self.reach, self.dt)
            velocity = course + np.sign(behind) * approach
            velocity = np.where(self.bend < HUGE, self.bent(velocity, motion, course, approach), velocity)
            velocity = clip(velocity, motion.velocity - self.reach, motion.velocity + self.reach)
            ahead = np.minimum(stopping(self.upper - motion.position, self.reach, self.dt), self.speed)
            back = np.minimum(stopping(motion.position - self.lower, self.reach, self.dt), self.speed)
            velocity = clip(velocity, -back, ahead)
            place = motion.position + velocity * self.dt
            motion = Motion(place, velocity, (velocity - motion.velocity) / self.dt, row, course)
            allowed.append(place)
        return np.array(allowed)

    def bent(self, velocity: np.ndarray, motion: Motion, course: np.ndarray, approach: np.ndarray) -> np.ndarray:
        dt, now, behind = self.dt, motion.velocity, motion.wanted - motion.position
        distance, side, there = np.abs(behind), np.sign(behind), np.abs(behind) <= ON_TRACK
        gentle = np.minimum(
            stopping(distance, 0.5 * self.reach, dt), 0.5 * np.cbrt(self.bend / dt * distance * distance)
        )
        turn = clip(course - motion.course, -self.reach, self.reach)
        off = course + side * gentle - now - turn
        change = turn / dt + np.sign(off) * stopping(np.abs(off), self.bend, dt)
        change = clip(change, -stopping(self.speed + now, self.bend, dt), stopping(self.speed - now, self.bend, dt))
        least = np.minimum(motion.acceleration - self.bend, np.where(there, 0.0, np.inf))
        most = np.maximum(motion.acceleration + self.bend, np.where(there, 0.0, -np.inf))
        bent = now + clip(change, least, most) * dt
        braked = course + side * np.minimum(side * (bent - course), approach)
        arriving = there & (np.abs(now - motion.course) > ON_TRACK / dt)
        return np.where(arriving, velocity, np.where(there, bent, braked))


def some(random: np.random.Generator, values: list[float], joints: int) -> np.ndarray:
    """One of the values for each joint, give or take; all or some of them infinite now and then."""
    finite = random.random(joints) < random.choice([0.0, 0.5, 1.0])
    return np.where(finite, random.choice(values, joints) * random.uniform(0.5, 2.0, joints), np.inf)


def draw_limits(random: np.random.Generator, joints: int) -> GateLimits:
    return GateLimits(
        tuple(f"joint{i}" for i in range(joints)),
        -some(random, [0.05, 1.0, 3.0], joints),
        some(random, [0.1, 1.0, 3.0], joints),
        some(random, [0.1, 1.0, 30.0], joints),
        np.full(joints, np.inf),
        margin=random.choice([0.0, 0.01]),
        max_acceleration=some(random, [0.1, 3.0, 15.0, 300.0], joints),
        max_jerk=some(random, [2.0, 100.0, 3000.0, 1e6], joints),
    )


def draw_rows(random: np.random.Generator, start: np.ndarray, count: int, dt: float) -> np.ndarray:
    time, joints = np.arange(1, count + 1)[:, None] * dt, len(start)
    kind = random.integers(6)
    if kind == 0:
        return np.repeat(random.uniform(-2.0, 2.0, (count // 6 + 1, joints)), 6, axis=0)[:count]
    if kind == 1:
        return start + np.cumsum(random.normal(0.0, 0.02, (count, joints)), axis=0)
    if kind == 2:
        return random.uniform(-2.0, 2.0, (count, joints)).astype(np.float32)
    if kind == 3:
        return start + random.uniform(0.0, 1.0, joints) * np.sin(time * random.uniform(0.1, 12.0, joints))
    if kind == 4:
        return start + time * random.uniform(-2.0, 2.0, joints)
    return (start + 0.2 * (1.0 - np.cos(time * random.uniform(0.1, 3.0, joints)))).astype(np.float32)


def draw_motion(random: np.random.Generator, place: np.ndarray) -> Motion:
    """At rest, or moving, on the rows, nearly on them or far behind; a joint may be unknown."""
    place = np.where(random.random(len(place)) < 0.1, np.nan, place) if random.random() < 0.2 else place
    if random.random() < 0.5:
        return Motion.at_rest(place)
    velocity = random.normal(0.0, 0.5, len(place))
    behind = random.choice([0.0, 1e-10, 2e-9, 0.1])
    return Motion(place, velocity, 0.3 * velocity, place + behind, velocity * random.choice([1.0, 0.5]))


@pytest.mark.parametrize("seed", range(60))
def test_what_the_gate_allows_is_what_the_plain_rules_allow_to_the_bit(seed: int) -> None:
    random = np.random.default_rng(seed)
    joints, lookahead = int(random.integers(1, 9)), int(random.integers(1, 14))
    dt = float(random.choice([0.005, 0.01, 0.02, 1.0 / 30.0, 0.1]))
    limits = draw_limits(random, joints)
    gate, reference = Gate(limits), Reference(limits, dt)
    motion = draw_motion(random, random.uniform(np.maximum(limits.lower, -1.2), np.minimum(limits.upper, 1.2)))
    rows = draw_rows(random, np.nan_to_num(motion.position), 40, dt)
    for step in range(len(rows)):
        window = rows[step : step + lookahead]
        allowed = gate.check(window, motion, None, dt).rows
        assert allowed is not None
        assert allowed.tobytes() == reference(window, motion).tobytes()
        motion = motion.advance(allowed[0], dt, window[0])
