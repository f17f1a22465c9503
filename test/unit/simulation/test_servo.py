# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from policy_ros.simulation.servo import Servo

DT = 1.0 / 200.0


def move(servo: Servo, target: float, steps: int) -> list[tuple[float, float]]:
    trace = []
    for _ in range(steps):
        servo.step(target, DT)
        trace.append((servo.position, servo.velocity))
    return trace


def test_reaches_the_target_and_rests():
    servo = Servo(0.0, max_velocity=2.0, max_acceleration=10.0)
    move(servo, 1.0, 600)
    assert servo.position == pytest.approx(1.0, abs=1e-4)
    assert servo.velocity == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("target", [0.01, 0.2, 1.0, -3.0])
def test_keeps_velocity_and_acceleration_limits(target):
    servo = Servo(0.0, max_velocity=2.0, max_acceleration=10.0)
    velocities = [0.0, *(velocity for _, velocity in move(servo, target, 600))]
    assert max(map(abs, velocities)) <= 2.0
    changes = [abs(b - a) / DT for a, b in itertools.pairwise(velocities)]
    assert max(changes) <= 10.0 + 1e-9


@pytest.mark.parametrize("target", [0.01, 0.2, 1.0, 3.0])
def test_does_not_overshoot(target):
    servo = Servo(0.0, max_velocity=2.0, max_acceleration=10.0)
    assert max(position for position, _ in move(servo, target, 800)) <= target + 1e-6


def test_follows_a_ramp_one_over_gain_late():
    servo = Servo(0.0, max_velocity=2.0, max_acceleration=10.0, gain=20.0)
    for step in range(400):
        servo.step(0.5 * step * DT, DT)
    assert 0.5 * 399 * DT - servo.position == pytest.approx(0.5 / 20.0, rel=0.1)
