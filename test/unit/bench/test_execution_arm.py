# SPDX-License-Identifier: Apache-2.0
"""The arm that follows: closely on smooth commands, in its own time over a jump."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.bench.execution.arm import MAX_ACCELERATION, Arm
from policy_ros.bench.execution.task import DURATION_S, PERIOD_S, SIDES, ForkedPath


def follow(commands: np.ndarray) -> np.ndarray:
    arm = Arm(commands[0], PERIOD_S)
    positions = []
    for command in commands:
        arm.follow(command)
        positions.append(arm.position)
    return np.stack(positions)


@pytest.mark.parametrize("side", SIDES)
def test_it_follows_the_reference_within_two_milliradians(side: float):
    commands = ForkedPath().at(np.arange(0.0, DURATION_S, PERIOD_S), side)
    assert np.abs(follow(commands) - commands).max() < 2e-3


@pytest.mark.parametrize("jump", [0.05, 0.3, -0.6])
def test_over_a_jump_it_takes_the_time_that_its_acceleration_needs_and_does_not_overshoot(jump: float):
    commands = np.full((60, 1), jump)
    commands[0] = 0.0
    share = follow(commands)[:, 0] / jump
    assert share.max() <= 1.0 + 1e-9
    assert share[-1] == pytest.approx(1.0, abs=1e-3)
    fastest_s = 2.0 * np.sqrt(abs(jump) / MAX_ACCELERATION)  # accelerate half of the way, brake the other half
    taken_s = PERIOD_S * float(np.argmax(share > 0.95))
    assert 0.6 * fastest_s < taken_s < 1.5 * fastest_s


def test_where_commands_stop_dead_it_runs_on_as_far_as_it_must_and_comes_back():
    speed = 1.0
    commands = np.concatenate([np.arange(0.0, 25.0), np.full(50, 24.0)])[:, None] * speed * PERIOD_S
    positions = follow(commands)[:, 0]
    beyond = positions.max() - commands[-1, 0]
    assert beyond == pytest.approx(speed**2 / (2.0 * MAX_ACCELERATION), rel=0.3)
    assert positions[-1] == pytest.approx(commands[-1, 0], abs=1e-4)
