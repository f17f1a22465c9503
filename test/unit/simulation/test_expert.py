# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gymnasium
import pytest

from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.expert import Expert


def solved(seed: int, **arguments: object) -> bool:
    env = gymnasium.make(ENVIRONMENT_ID, obs_type="state", **arguments)
    env.reset(seed=seed)
    expert = Expert()
    terminated = truncated = False
    while not (terminated or truncated):
        *_, terminated, truncated, _ = env.step(expert.action(env.unwrapped))
    return terminated


def test_scripted_solution_solves_every_one_of_a_hundred_tasks():
    assert [seed for seed in range(100) if not solved(seed)] == []


@pytest.mark.parametrize("arguments", [{"control_hz": 10.0}, {"goal_speed": 0.03}])
def test_scripted_solution_works_at_other_rates_and_with_a_moving_goal(arguments):
    assert [seed for seed in range(20) if not solved(seed, **arguments)] == []
