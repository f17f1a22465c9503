# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from policy_ros.errors import ConfigurationError
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.env import OBSERVATION_TYPES, PickEnv
from policy_ros.simulation.expert import Expert
from policy_ros.simulation.kinematics import radial_pose
from policy_ros.simulation.task import MAX_AZIMUTH, MIN_SEPARATION

SMALL = (48, 64)


def solved_env() -> PickEnv:
    """The puck lies on the goal, the open gripper still around it."""
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    x, y = env.goal.position
    env.world.place([*env.world.arm.inverse(radial_pose(env.goal.azimuth, env.goal.radius)), 0.085])
    env.world.place_puck(x, y)
    return env


@pytest.mark.parametrize("obs_type", OBSERVATION_TYPES)
def test_passes_gymnasiums_checker(obs_type):
    env = gymnasium.make(ENVIRONMENT_ID, obs_type=obs_type, image_size=SMALL, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Actions are joint positions in SI units on purpose.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized.*")
        check_env(env.unwrapped)


def test_observation_holds_two_cameras_and_the_joints():
    env = gymnasium.make(ENVIRONMENT_ID)
    observation, _ = env.reset(seed=1)
    assert {name: picture.shape for name, picture in observation["pixels"].items()} == {
        "top": (480, 640, 3),
        "wrist": (480, 640, 3),
    }
    assert observation["agent_pos"].dtype == np.float32
    assert observation["agent_pos"].shape == (4,)


def test_environment_state_is_puck_and_goal():
    env = PickEnv(obs_type="environment_state")
    observation, info = env.reset(seed=3)
    puck, goal = observation["environment_state"][:2], observation["environment_state"][2:]
    assert puck == pytest.approx(env.world.puck)
    assert goal == pytest.approx(env.goal.position)
    assert info["puck_to_goal"] == pytest.approx(math.dist(puck, goal), abs=1e-6)


def test_same_seed_gives_the_same_episode_to_the_last_pixel():
    episodes = []
    for _ in range(2):
        env = PickEnv(image_size=SMALL)
        observation, _ = env.reset(seed=11)
        expert, frames = Expert(), [observation]
        for _ in range(30):
            frames.append(env.step(expert.action(env))[0])
        episodes.append(frames)
    for first, second in zip(*episodes, strict=True):
        assert np.array_equal(first["agent_pos"], second["agent_pos"])
        for camera in ("top", "wrist"):
            assert np.array_equal(first["pixels"][camera], second["pixels"][camera])


def test_another_seed_gives_another_task():
    env = PickEnv(obs_type="environment_state")
    assert not np.array_equal(env.reset(seed=1)[0]["environment_state"], env.reset(seed=2)[0]["environment_state"])


def test_puck_and_goal_are_apart_and_within_reach():
    env = PickEnv(obs_type="environment_state")
    for seed in range(200):
        env.reset(seed=seed)
        assert math.dist(env.world.puck, env.goal.position) >= MIN_SEPARATION
        for x, y in (env.world.puck, env.goal.position):
            env.world.arm.inverse(radial_pose(math.atan2(y, x), math.hypot(x, y)))


def test_puck_on_the_goal_let_go_and_at_rest_is_success():
    env = solved_env()
    _, reward, terminated, _, info = env.step(env.joint_positions)
    assert info["is_success"] and terminated and reward == 1.0


def test_puck_still_held_on_the_goal_is_no_success():
    env = solved_env()
    hold = env.joint_positions
    hold[3] = 0.0
    for _ in range(20):
        *_, info = env.step(hold)
    assert info["grasped"] and info["puck_to_goal"] < 0.01
    assert not info["is_success"]


def test_puck_beside_the_goal_is_no_success():
    env = solved_env()
    env.world.place_puck(env.world.puck[0] - 0.03, env.world.puck[1])
    *_, info = env.step(env.joint_positions)
    assert not info["is_success"]


def test_success_does_not_terminate_when_told_so():
    env = PickEnv(obs_type="state", terminate_on_success=False)
    env.reset(seed=0)
    env.world.place_puck(*env.goal.position)
    _, _, terminated, _, info = env.step(env.joint_positions)
    assert info["is_success"] and not terminated


def test_moving_goal_keeps_its_speed_and_turns_back_within_reach():
    env = PickEnv(obs_type="state", goal_speed=0.2, terminate_on_success=False)
    env.reset(seed=0)
    hold, before, azimuths = env.joint_positions, env.goal.position, []
    for _ in range(400):
        env.step(hold)
        azimuths.append(env.goal.azimuth)
        assert math.dist(before, env.goal.position) <= 0.2 / 20 + 1e-9
        before = env.goal.position
    assert max(map(abs, azimuths)) <= MAX_AZIMUTH
    assert min(azimuths) < 0.0 < max(azimuths)


def test_goal_stands_still_by_default():
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    before = env.goal.position
    env.step(env.joint_positions)
    assert env.goal.position == before


def test_reset_can_leave_the_arm_where_it_is():
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    target = np.array([*env.world.arm.inverse(radial_pose(0.5, 0.3)), 0.02])
    for _ in range(40):
        env.step(target)
    before, puck = env.joint_positions, env.world.puck
    env.reset(options={"keep_arm": True})
    assert np.array_equal(env.joint_positions, before)
    assert env.world.puck != puck


def test_arm_goes_where_the_action_says():
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    target = np.array([*env.world.arm.inverse(radial_pose(-0.8, 0.24)), 0.06])
    for _ in range(60):
        observation, *_ = env.step(target)
    assert observation["agent_pos"] == pytest.approx(target, abs=2e-3)


def test_action_beyond_the_limits_is_clipped():
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    for _ in range(100):
        observation, *_ = env.step(np.array([9.0, 0.0, 0.0, 9.0]))
    assert observation["agent_pos"][0] == pytest.approx(2.6, abs=1e-3)
    assert observation["agent_pos"][3] == pytest.approx(0.085, abs=1e-4)


@pytest.mark.parametrize("action", [[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0, 0.0]])
def test_action_that_is_no_four_finite_positions_is_refused(action):
    env = PickEnv(obs_type="state")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected 4 finite joint positions"):
        env.step(np.array(action))


def test_control_rate_does_not_change_the_motion():
    places = []
    for control_hz in (20.0, 100.0):
        env = PickEnv(obs_type="state", control_hz=control_hz)
        env.reset(seed=0)
        target = np.array([*env.world.arm.inverse(radial_pose(0.4, 0.3)), 0.05])
        for _ in range(round(0.5 * control_hz)):
            env.step(target)
        places.append(env.joint_positions)
    assert places[0] == pytest.approx(places[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"obs_type": "pixel"}, "did you mean 'pixels'"),
        ({"control_hz": 30.0}, "whole fraction of 200 Hz"),
        ({"control_hz": 0.0}, "whole fraction of 200 Hz"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"image_size": (4, 4)}, "at least 8 x 8"),
    ],
)
def test_wrong_argument_is_refused_with_what_is_expected(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        PickEnv(**arguments)


def test_vectorised_environments_draw_different_tasks():
    vector = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=3, vectorization_mode="sync", image_size=SMALL)
    observation, _ = vector.reset(seed=5)
    assert observation["pixels"]["top"].shape == (3, *SMALL, 3)
    assert not np.array_equal(observation["pixels"]["top"][0], observation["pixels"]["top"][1])
    observation, *_ = vector.step(vector.action_space.sample())
    assert observation["agent_pos"].shape == (3, 4)
    vector.close()


def test_importing_the_room_needs_no_ros():
    code = "import sys, policy_ros.simulation.robot, policy_ros.simulation.env; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
