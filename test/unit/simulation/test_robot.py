# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from policy_ros.errors import ConfigurationError
from policy_ros.simulation.robot import RobotConfig, SimulatedRobot

OTHER = "policy_ros_test/Slider-v0"


class Slider(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Somebody else's environment: two sliders, one small grey picture, observation keys of its own."""

    metadata = {"render_modes": [], "render_fps": 25}  # noqa: RUF012

    def __init__(self, grey: int = 100) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.observation_space = spaces.Dict(
            {
                "sliders": spaces.Box(-1.0, 1.0, (2,), dtype=np.float32),
                "view": spaces.Box(0, 255, (12, 16, 3), dtype=np.uint8),
            }
        )
        self._grey = grey
        self._place = np.zeros(2, np.float32)

    def _observe(self) -> dict[str, Any]:
        return {"sliders": self._place.copy(), "view": np.full((12, 16, 3), self._grey, np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = np.zeros(2, np.float32)
        return self._observe(), {}

    def step(self, action):
        self._place = np.asarray(action, np.float32)
        done = bool(self._place[0] >= 1.0)
        return self._observe(), 0.0, done, False, {}


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(OTHER, entry_point=Slider)
    yield
    del gymnasium.registry[OTHER]


def other(**changes) -> SimulatedRobot:
    settings = {"joints": ("left", "right"), "state_key": "sliders", "pixels_key": "view", "image_noise": 0.0}
    return SimulatedRobot(RobotConfig(env_id=OTHER, **{**settings, **changes}))


def test_own_robot_has_four_joints_and_two_cameras():
    robot = SimulatedRobot(RobotConfig())
    assert robot.joints == ("joint1", "joint2", "joint3", "gripper_joint")
    assert robot.cameras == ("top", "wrist")
    assert robot.step_hz == 100.0
    assert robot.image("top").shape == (480, 640, 3)


def test_own_robot_moves_towards_the_command_and_tells_its_velocity():
    robot = SimulatedRobot(RobotConfig())
    target = robot.positions + np.array([0.3, 0.0, 0.0, 0.0])
    for _ in range(10):
        robot.step(target)
    assert robot.velocities[0] > 0.1
    for _ in range(200):
        robot.step(target)
    assert robot.positions == pytest.approx(target, abs=1e-3)


def test_new_task_can_leave_the_arm_in_place():
    robot = SimulatedRobot(RobotConfig())
    for _ in range(100):
        robot.step(np.array([0.5, -1.0, 0.2, 0.02]))
    before = robot.positions
    robot.reset(keep_arm=True)
    assert np.array_equal(robot.positions, before)
    robot.reset(keep_arm=False)
    assert not np.array_equal(robot.positions, before)


def test_any_environment_with_pixels_and_a_joint_vector_is_a_robot():
    robot = other()
    assert (robot.joints, robot.cameras, robot.step_hz) == (("left", "right"), ("top",), 25.0)
    robot.step(np.array([0.5, -3.0]))
    assert robot.positions.tolist() == [0.5, -1.0], "clipped to the action space"
    assert robot.velocities == pytest.approx([12.5, -25.0])
    assert robot.image("top").shape == (12, 16, 3)


def test_environment_arguments_and_picture_size_are_applied():
    picture = other(env_kwargs={"grey": 40}, image_size=(24, 32)).image("top")
    assert picture.shape == (24, 32, 3)
    assert np.all(picture == 40)


def test_termination_counts_as_success_where_the_environment_does_not_say():
    robot = other()
    robot.step(np.array([0.2, 0.0]))
    assert not robot.success
    robot.step(np.array([1.0, 0.0]))
    assert robot.success


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": ("left",)}, "expected 2 names"),
        ({"joints": ()}, "expected 2 names"),
        ({"pixels_key": "vjew"}, "did you mean 'view'"),
        ({"cameras": ("front",)}, "camera 'front' is unknown"),
        ({"env_kwargs": {"colour": 1}}, "cannot be made"),
    ],
)
def test_configuration_that_does_not_fit_the_environment_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        other(**changes)


def test_state_key_that_is_not_there_is_refused_with_the_closest_one():
    with pytest.raises(ConfigurationError, match="did you mean 'sliders'"):
        other(state_key="slider")


def test_unknown_environment_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be made"):
        SimulatedRobot(RobotConfig(env_id="policy_ros/Pluck-v0"))


def test_fault_15_environment_id_that_names_a_module_is_refused():
    with pytest.raises(ConfigurationError, match="without a module"):
        SimulatedRobot(RobotConfig(env_id="antigravity:policy_ros/Pick-v0"))


def test_push_t_is_a_robot():
    pytest.importorskip("gym_pusht", reason="gym-pusht is not installed (extra `pusht`)")
    robot = SimulatedRobot(
        RobotConfig(env_id="gym_pusht/PushT-v0", env_kwargs={"obs_type": "pixels_agent_pos"}, joints=("x", "y"))
    )
    for _ in range(20):
        robot.step(np.array([300.0, 200.0]))
    assert robot.positions == pytest.approx([300.0, 200.0], abs=2.0)
    assert robot.cameras == ("top",)
    assert robot.image("top").std() > 5.0
    assert robot.step_hz == 10.0
