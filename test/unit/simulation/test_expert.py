# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gymnasium
import numpy as np
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


def test_plan_begins_with_the_command_and_foresees_the_ones_that_follow():
    env = gymnasium.make(ENVIRONMENT_ID, obs_type="state", control_hz=50.0).unwrapped
    env.reset(seed=3)
    expert, in_force, plans = Expert(), env.joint_positions, []
    for _ in range(60):
        plan = expert.plan(env.world, env.goal.position, in_force, rows=4, period_s=0.02)
        assert plan[0] == pytest.approx(expert.action(env))
        plans.append(plan)
        env.step(in_force.astype(np.float32))  # a command acts one period after it was given
        in_force = plan[0]
    foreseen = [np.abs(plan[2] - later[0]).max() for plan, later in zip(plans, plans[2:], strict=False)]
    assert np.median(foreseen) < 1e-4
    assert np.median([np.abs(plan[0] - later[0]).max() for plan, later in zip(plans, plans[2:], strict=False)]) > 1e-3


def test_plan_leaves_the_world_as_it_is():
    env = gymnasium.make(ENVIRONMENT_ID, obs_type="state").unwrapped
    env.reset(seed=3)
    before = env.world.positions, env.world.velocities, env.world.puck
    Expert().plan(env.world, env.goal.position, env.joint_positions, rows=10, period_s=0.02)
    assert (env.world.positions, env.world.velocities, env.world.puck) == before
