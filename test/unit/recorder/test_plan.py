# SPDX-License-Identifier: Apache-2.0
"""Which topics a configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.files import read_parameters
from policy_ros.parameters.node import CameraParameters, JointParameters, NodeParameters, OutputParameters
from policy_ros.ros.recorder.plan import Need, plan_topics

CONFIG = Path(__file__).parents[3] / "config"
SO101 = read_parameters(CONFIG / "so101.yaml")


def test_inputs_commands_and_what_is_there_besides_are_planned():
    plans = {plan.topic: plan for plan in plan_topics(SO101, extra_topics=["/policy/status"])}
    assert {topic: (plan.type, plan.need) for topic, plan in plans.items()} == {
        "joint_states": ("sensor_msgs/msg/JointState", Need.MESSAGES),
        "front/image_raw": ("sensor_msgs/msg/Image", Need.MESSAGES),
        "wrist/image_raw": ("sensor_msgs/msg/Image", Need.MESSAGES),
        "environment_state": ("std_msgs/msg/Float64MultiArray", Need.NOTHING),
        "arm_controller/joint_trajectory": ("trajectory_msgs/msg/JointTrajectory", Need.PUBLISHER),
        "gripper_controller/commands": ("std_msgs/msg/Float64MultiArray", Need.PUBLISHER),
        "robot_description": ("std_msgs/msg/String", Need.NOTHING),
        "/policy/status": ("", Need.PUBLISHER),
    }
    assert plans["joint_states"].joints == SO101.joints.names


def test_a_leader_arm_stands_in_for_the_commands_and_must_have_all_joints():
    plans = {plan.topic: plan for plan in plan_topics(SO101, action_topic="leader/joint_states")}
    assert "arm_controller/joint_trajectory" not in plans
    leader = plans["leader/joint_states"]
    assert (leader.type, leader.need, leader.joints) == (
        "sensor_msgs/msg/JointState",
        Need.MESSAGES,
        SO101.joints.names,
    )


def test_cameras_are_recorded_as_configured():
    cameras = {"top": CameraParameters(compressed=True, reliability="reliable")}
    joints = JointParameters(names=("a",), state_names=("b", "a"))
    outputs = {"arm": OutputParameters(topic="arm", joints=("a",))}
    plans = plan_topics(NodeParameters(joints=joints, cameras=cameras, outputs=outputs))
    camera = next(plan for plan in plans if plan.label == "camera/top")
    assert (camera.topic, camera.type) == ("camera/top/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
    assert camera.reliability == "reliable"
    assert plans[0].joints == ("a", "b")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (NodeParameters(), "joints.names: expected the joints"),
        (NodeParameters(joints=JointParameters(names=("a",))), "outputs: expected at least one"),
    ],
)
def test_a_configuration_without_joints_or_commands_is_refused(parameters, expected):
    with pytest.raises(ConfigurationError, match=expected):
        plan_topics(parameters)
