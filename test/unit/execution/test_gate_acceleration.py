# SPDX-License-Identifier: Apache-2.0
"""Acceleration and jerk: what is promised holds for the rows as they are published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policy_ros.execution import Gate, GateLimits, HoldCause, Motion
from policy_ros.execution.gate.joint import stopping_speed

DT = 0.02
SPEED, ACCELERATION = 2.0, 10.0


def limits(**changes: object) -> GateLimits:
    given = {
        "names": ("joint",),
        "lower": np.array([-1.0]),
        "upper": np.array([1.0]),
        "max_velocity": np.array([SPEED]),
        "max_jump": np.array([np.inf]),
        "max_acceleration": np.array([ACCELERATION]),
    }
    return GateLimits(**{**given, **changes})


def follow(gate: Gate, target: np.ndarray, start: float = 0.0, lookahead: int = 10) -> np.ndarray:
    """What is commanded when a window of the target is offered on every tick; the first row is where it starts."""
    motion, commanded = Motion.at_rest(np.array([start])), [start]
    for step in range(len(target)):
        window = target[step : step + lookahead, None]
        rows = gate.check(window, motion, None, DT).rows
        motion = motion.advance(rows[0], DT, window[0])
        commanded.append(float(rows[0, 0]))
    return np.array(commanded)


def moving(position: list[float], velocity: list[float]) -> Motion:
    """A robot that was commanded to move at a constant speed."""
    now = np.array(position)
    still = Motion.at_rest(now - np.array(velocity) * DT)
    return replace(still.advance(now, DT), acceleration=np.zeros(len(now)))


def rates(commanded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    velocity = np.concatenate(([0.0], np.diff(commanded))) / DT
    return velocity, np.diff(velocity) / DT


def test_a_motion_within_all_limits_passes_unchanged() -> None:
    time = np.arange(200) * DT
    target = 0.5 * (1.0 - np.cos(2.0 * time))  # at most 1 rad/s and 2 rad/s²
    np.testing.assert_array_equal(follow(Gate(limits()), target)[1:], target)


@pytest.mark.parametrize("lookahead", [1, 2, 10])
@pytest.mark.parametrize("seed", range(8))
def test_fault_09_no_row_is_beyond_position_velocity_or_acceleration(seed: int, lookahead: int) -> None:
    random = np.random.default_rng(seed)
    target = np.repeat(random.uniform(-1.5, 1.5, 40), random.integers(1, 30, 40))
    target = target + random.normal(0.0, 0.3, len(target)) * (seed % 2)
    velocity, acceleration = rates(follow(Gate(limits(margin=0.05)), target, lookahead=lookahead))
    commanded = np.cumsum(velocity) * DT
    assert np.abs(commanded).max() <= 0.95 + 1e-5
    assert np.abs(velocity).max() <= SPEED + 1e-3
    assert np.abs(acceleration).max() <= ACCELERATION + 1e-2


@pytest.mark.parametrize("lookahead", [1, 10])
@pytest.mark.parametrize("end", [0.03, 0.4, 0.99, -1.0])
def test_a_step_is_reached_and_not_run_past(end: float, lookahead: int) -> None:
    commanded = follow(Gate(limits()), np.full(120, end), lookahead=lookahead)
    assert commanded[-1] == pytest.approx(end, abs=1e-9)
    assert np.max(commanded * np.sign(end)) <= abs(end) + 1e-9


def test_the_robot_catches_up_with_a_moving_target_without_swinging() -> None:
    target = 0.6 + 0.5 * np.arange(60) * DT  # 0.5 rad/s, from 0.6 rad ahead
    commanded = follow(Gate(limits(upper=np.array([9.0]))), target)[1:]
    assert np.all(commanded <= target + 1e-3)
    np.testing.assert_allclose(commanded[-5:], target[-5:], atol=1e-4)


def test_limits_that_the_robot_is_already_beyond_are_approached_and_never_left_further() -> None:
    commanded = follow(Gate(limits()), np.full(100, 1.5), start=1.3)
    assert commanded.max() <= 1.3 + 1e-9
    below = follow(Gate(limits()), np.full(100, 0.5), start=1.3)
    assert below[-1] == pytest.approx(0.5, abs=1e-5)


def test_a_speed_near_the_limit_of_position_is_braked_in_time_even_if_it_breaks_the_acceleration_limit() -> None:
    """Position comes first: somebody handed in a motion that nobody could stop in time."""
    racing = moving([0.98], [2.0])
    rows = Gate(limits()).check(np.array([[1.02], [1.06]]), racing, None, DT).rows
    assert np.all(rows <= 1.0 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_jerk_is_limited_where_nothing_else_is_at_stake(seed: int) -> None:
    jerk = 400.0
    target = np.repeat(np.random.default_rng(seed).uniform(-0.5, 0.5, 10), 80)
    free = limits(
        max_jerk=np.array([jerk]), lower=np.array([-9.0]), upper=np.array([9.0]), max_velocity=np.array([9.0])
    )
    _, acceleration = rates(follow(Gate(free), target))
    assert np.abs(np.diff(acceleration)).max() <= (jerk + 1.0) * DT
    _, unlimited = rates(follow(Gate(limits()), target))
    assert np.abs(np.diff(unlimited)).max() > 1.5 * jerk * DT


@pytest.mark.parametrize("jerk", [10.0, 400.0])
def test_jerk_limited_motion_still_arrives_and_stays(jerk: float) -> None:
    commanded = follow(Gate(limits(max_jerk=np.array([jerk]))), np.full(400, 0.6))
    np.testing.assert_allclose(commanded[-50:], 0.6, atol=1e-8)
    _, acceleration = rates(commanded)
    assert np.abs(np.diff(acceleration)).max() <= jerk * DT + 1e-6


TARGETS = {
    "steps": lambda random, joints: np.repeat(random.uniform(-2.5, 2.5, (12, joints)), 9, axis=0),
    "walk": lambda random, joints: np.cumsum(random.normal(0.0, 0.03, (100, joints)), axis=0),
    "noise": lambda random, joints: random.uniform(-2.5, 2.5, (100, joints)),
    "waves": lambda random, joints: 2.0 * np.sin(np.outer(np.arange(100) * DT, random.uniform(1.0, 12.0, joints))),
}


@pytest.mark.parametrize("lookahead", [1, 4])
@pytest.mark.parametrize("jerk_limited", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_fault_09_whatever_is_wanted_all_limits_are_kept_and_a_target_that_stops_is_reached(
    target: str, jerk_limited: bool, lookahead: int
) -> None:
    random, joints = np.random.default_rng(len(target) + 7 * jerk_limited), 30
    lower, upper = -random.uniform(0.5, 2.0, joints), random.uniform(0.5, 2.0, joints)
    speed = random.choice([0.5, 2.0, np.inf], joints)
    acceleration = random.choice([2.0, 10.0, 50.0, np.inf], joints)
    jerk = random.choice([5.0, 50.0, 1000.0], joints) if jerk_limited else np.full(joints, np.inf)
    names = tuple(f"joint{i}" for i in range(joints))
    gate = Gate(
        GateLimits(names, lower, upper, speed, np.full(joints, np.inf), max_acceleration=acceleration, max_jerk=jerk)
    )
    end = random.uniform(lower, upper)
    wanted = np.vstack((TARGETS[target](random, joints), np.tile(end, (900, 1))))
    motion, rows = Motion.at_rest(np.zeros(joints)), [np.zeros(joints)]
    for step in range(len(wanted)):
        window = wanted[step : step + lookahead]
        rows.append(gate.check(window, motion, None, DT).rows[0])
        motion = motion.advance(rows[-1], DT, window[0])
    places = np.array(rows)
    velocity = np.diff(places, axis=0, prepend=0.0) / DT
    assert np.all(places >= lower - 1e-9) and np.all(places <= upper + 1e-9)
    assert np.all(np.abs(velocity).max(axis=0) <= speed + 1e-6)
    assert np.all(np.abs(np.diff(velocity, axis=0)).max(axis=0) / DT <= acceleration + 1e-4)
    np.testing.assert_allclose(places[-40:], np.tile(end, (40, 1)), atol=1e-6)
    off = places[102:] - end
    turns = np.diff(np.sign(np.where(np.abs(off) < 1e-7, 0.0, off)), axis=0) != 0
    assert turns.sum(axis=0).max() <= 3, "it may run past a target that stops suddenly, once, and comes back"


def test_a_robot_that_lags_is_told_so_by_the_rows_it_was_asked_for() -> None:
    gate = Gate(limits())
    first = gate.check(np.array([[0.5]]), Motion.at_rest(np.zeros(1)), None, DT)
    assert first.changed.tolist() == [[True]]
    lagging = Motion.at_rest(np.zeros(1)).advance(first.rows[0], DT, np.array([0.5]))
    assert (lagging.wanted[0], lagging.course[0]) == (0.5, 25.0)
    assert lagging.position[0] == pytest.approx(ACCELERATION * DT * DT)


@pytest.mark.parametrize("distance", [0.0, 1e-4, 0.003, 0.004, 0.011, 0.2, 1.0])
def test_the_stopping_speed_is_the_largest_that_stops_in_time(distance: float) -> None:
    reach = ACCELERATION * DT

    def covered(speed: float) -> float:
        way = 0.0
        while speed > 1e-12:
            way += speed * DT
            speed = max(0.0, speed - reach)
        return way

    assert covered(stopping_speed(distance, reach, DT)) == pytest.approx(distance, abs=1e-9)


def test_joints_without_a_limit_are_not_slowed_by_those_with_one() -> None:
    two = GateLimits(
        ("free", "slow"),
        np.full(2, -9.0),
        np.full(2, 9.0),
        np.full(2, np.inf),
        np.full(2, np.inf),
        max_acceleration=np.array([np.inf, 1.0]),
    )
    rows = Gate(two).check(np.array([[1.0, 1.0], [1.0, 1.0]]), Motion.at_rest(np.zeros(2)), None, DT).rows
    assert rows[0, 0] == 1.0 and rows[0, 1] == pytest.approx(1.0 * DT * DT)


def test_a_joint_that_is_not_measured_starts_where_it_is_wanted() -> None:
    rows = Gate(limits()).check(np.array([[0.5], [0.5]]), None, np.array([np.nan]), DT).rows
    np.testing.assert_array_equal(rows, [[0.5], [0.5]])


def test_fault_09_one_output_may_reject_while_another_clamps() -> None:
    two = GateLimits(
        ("arm", "gripper"),
        np.full(2, -1.0),
        np.full(2, 1.0),
        np.full(2, np.inf),
        np.full(2, np.inf),
        reject=np.array([True, False]),
    )
    clamped = Gate(two).check(np.array([[0.0, 2.0]]), None, None, DT)
    assert clamped.rows[0, 1] == 1.0 and clamped.changed.tolist() == [[False, True]]
    refused = Gate(two).check(np.array([[2.0, 0.0]]), None, None, DT)
    assert (refused.rows, refused.reason) == (None, HoldCause.LIMIT)
    assert refused.offending.tolist() == [True, False]


def test_whatever_is_computed_nothing_that_is_not_finite_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policy_ros.execution.gate.check.Clamp.__call__", lambda self, rows, *_: rows * np.nan)
    result = Gate(limits()).check(np.array([[0.1]]), Motion.at_rest(np.zeros(1)), None, DT)
    assert (result.rows, result.reason) == (None, HoldCause.INTERNAL_ERROR)


MOVING = moving([0.2, 0.0], [1.0, -0.4])


def two_joints(**changes: object) -> GateLimits:
    wide = np.full(2, 9.0)
    return GateLimits(("a", "b"), -wide, wide, wide, wide, **changes)


def ramp_rates(rows: np.ndarray, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    velocity = np.diff(np.vstack((motion.position, rows, rows[-1:])), axis=0) / DT
    return velocity, np.diff(np.vstack((motion.velocity, velocity)), axis=0) / DT


def test_a_ramp_brings_all_joints_to_rest_together_in_its_time() -> None:
    rows = Gate(two_joints(ramp_down_s=0.1)).ramp_down(MOVING, DT)
    velocity, acceleration = ramp_rates(rows, MOVING)
    assert len(rows) == 4  # the fifth would repeat the fourth
    np.testing.assert_allclose(velocity[:, 0], [0.8, 0.6, 0.4, 0.2, 0.0], atol=1e-9)
    np.testing.assert_allclose(velocity[:, 1], -0.4 * velocity[:, 0], atol=1e-9)
    np.testing.assert_allclose(acceleration[:, 0], -10.0)


def test_a_ramp_takes_as_long_as_the_acceleration_limits_ask_for() -> None:
    rows = Gate(two_joints(ramp_down_s=0.1, max_acceleration=np.array([4.0, 9.0]))).ramp_down(MOVING, DT)
    _, acceleration = ramp_rates(rows, MOVING)
    assert np.abs(acceleration).max() <= 4.0 + 1e-6 and len(rows) == 12


def test_a_ramp_never_takes_longer_than_a_second() -> None:
    assert len(Gate(two_joints(max_acceleration=1e-3)).ramp_down(MOVING, DT)) == 49


def test_a_ramp_stays_within_the_position_limits() -> None:
    close = two_joints(ramp_down_s=0.2)
    close = GateLimits(
        close.names, np.array([-9.0, -0.001]), np.array([0.21, 9.0]), np.full(2, 9.0), np.full(2, 9.0), ramp_down_s=0.2
    )
    rows = Gate(close).ramp_down(MOVING, DT)
    assert rows[:, 0].max() <= 0.21 and rows[:, 1].min() >= -0.001


def test_a_ramp_into_a_position_limit_brakes_in_time_instead_of_stopping_dead() -> None:
    wide = np.full(1, 9.0)
    close = GateLimits(("a",), -wide, np.array([0.205]), wide, wide, max_acceleration=20.0, ramp_down_s=0.2)
    motion = moving([0.2], [0.4])  # can still stop within 5 mm, but not in an even ramp of 0.2 s
    rows = Gate(close).ramp_down(motion, DT)
    velocity = np.diff(np.concatenate((motion.position, rows[:, 0], rows[-1:, 0]))) / DT
    assert rows.max() <= 0.205 and velocity[-1] == 0.0
    assert np.abs(np.diff(np.concatenate((motion.velocity, velocity)))).max() / DT <= 20.0 + 1e-6


def test_a_ramp_of_a_joint_outside_its_limits_goes_no_further() -> None:
    rows = Gate(limits(ramp_down_s=0.1)).ramp_down(moving([1.2], [0.5]), DT)
    np.testing.assert_array_equal(rows, np.full_like(rows, 1.2))


@pytest.mark.parametrize(("motion", "ramp_down_s"), [(Motion.at_rest(np.array([0.2, 0.0])), 0.1), (MOVING, 0.0)])
def test_no_ramp_where_there_is_nothing_to_brake_or_no_time_for_it(motion: Motion, ramp_down_s: float) -> None:
    assert Gate(two_joints(ramp_down_s=ramp_down_s)).ramp_down(motion, DT).shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "bound_s"),
    [
        ({}, 0.0),
        ({"ramp_down_s": 0.3}, 0.3),
        ({"ramp_down_s": 0.1, "max_acceleration": np.array([18.0, np.inf])}, 0.5),
        ({"max_acceleration": 0.1}, 1.0),
    ],
)
def test_the_longest_ramp_is_known_beforehand(changes: dict[str, object], bound_s: float) -> None:
    assert Gate(two_joints(**changes)).longest_ramp_s() == pytest.approx(bound_s)
