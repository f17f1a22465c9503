# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.schema import read
from policy_ros.ros.simulated_robot.parameters import SimulatedRobotParameters, controllers_for, robot_config
from policy_ros.simulation.kinematics import JOINT_NAMES

CONFIG = Path(__file__).parents[3] / "config" / "sim_robot.yaml"


def parameters(**values: Any) -> SimulatedRobotParameters:
    return read(SimulatedRobotParameters, {name.replace("__", "."): value for name, value in values.items()})


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def test_shipped_parameter_file_says_what_the_defaults_are():
    shipped = read(SimulatedRobotParameters, flat(yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]))
    default = SimulatedRobotParameters()
    assert controllers_for(shipped, JOINT_NAMES) == controllers_for(default, JOINT_NAMES)
    assert robot_config(shipped) == robot_config(default)
    assert (shipped.camera_hz, shipped.joint_state_hz) == (default.camera_hz, default.joint_state_hz)


def test_own_robot_has_an_arm_and_a_gripper_controller():
    controllers = controllers_for(parameters(), JOINT_NAMES)
    assert {name: (c.type, c.joints) for name, c in controllers.items()} == {
        "arm_controller": ("joint_trajectory", ("joint1", "joint2", "joint3")),
        "gripper_controller": ("position_array", ("gripper_joint",)),
    }


def test_other_robot_has_one_controller_for_all_joints():
    assert controllers_for(parameters(), ("x", "y"))["arm_controller"].joints == ("x", "y")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"controllers__arm__joints": ()}, "at least one joint"),
        ({"controllers__arm__joints": ("joint9",)}, "no joint 'joint9'"),
        ({"controllers__a__joints": ("joint1",), "controllers__b__joints": ("joint1",)}, "belongs to a already"),
        ({"controllers__a__joints": ("joint1",), "controllers__a__max_velocity": (1.0, 2.0)}, "expected 1 values"),
    ],
)
def test_controllers_that_do_not_fit_the_joints_are_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        controllers_for(parameters(**values), JOINT_NAMES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"env_kwargs": "{goal_speed: 1}"}, "expected a JSON object"),
        ({"env_kwargs": "[1]"}, "expected a JSON object"),
        ({"image_width": 320}, "expected both or neither"),
    ],
)
def test_environment_that_is_half_described_is_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        robot_config(parameters(**values))
