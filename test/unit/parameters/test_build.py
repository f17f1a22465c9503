# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters, OutputParameters
from policy_ros.parameters.schema import read

ARM = {
    "joints.names": ["a", "b"],
    "outputs.arm.topic": "arm/joint_trajectory",
    "outputs.arm.joints": ["a", "b"],
}


def parameters(**changes: object) -> NodeParameters:
    return read(NodeParameters, {**ARM, **{name.replace("__", "."): value for name, value in changes.items()}})


def policy(*, state: int | None = 2, cameras: tuple[str, ...] = (), action: int = 2, environment: int | None = None):
    inputs = {name: FeatureSpec(FeatureType.VISUAL, (3, 8, 8)) for name in cameras}
    if state is not None:
        inputs["observation.state"] = FeatureSpec(FeatureType.STATE, (state,))
    if environment is not None:
        inputs["observation.environment_state"] = FeatureSpec(FeatureType.ENV, (environment,))
    config = SimpleNamespace(
        observed_features=inputs,
        output_features={"action": FeatureSpec(FeatureType.ACTION, (action,))},
        n_obs_steps=1,
        unfit_for_robots="",
    )
    return SimpleNamespace(name="stub", config=config)


def test_a_camera_of_the_checkpoint_that_is_not_configured_is_found_by_its_feature():
    wanted = policy(cameras=("observation.images.top", "observation.image"))

    def cameras(**changes: object):
        return build.with_cameras_of(parameters(**changes), wanted).cameras

    assert {name: camera.feature for name, camera in cameras().items()} == {
        "top": "observation.images.top",
        "image": "observation.image",
    }
    assert cameras(cameras__top__topic="/t")["top"].topic == "/t"
    assert set(cameras(cameras__overview__feature="observation.images.top")) == {"overview", "image"}


def test_streams_follow_the_features():
    config = build.observation_config(
        parameters(cameras__front__feature="observation.images.top", cameras__front__max_age_s=0.7),
        policy(cameras=("observation.images.top",), environment=4),
    )
    assert [(camera.name, camera.feature, camera.max_age_s) for camera in config.cameras] == [
        ("front", "observation.images.top", 0.7)
    ]
    assert config.environment_state.dim == 4
    assert config.joints == ("a", "b")


def test_fault_01_cameras_and_the_environment_expire_as_their_parameters_say():
    given = parameters(cameras__top__max_age_s=0.7, observation__environment_max_age_s=0.9, observation__tail_s=0.11)
    config = build.observation_config(given, policy(cameras=("observation.images.top",), environment=4))
    ages = config.max_ages_s()
    assert (ages["camera/top"], ages["environment_state"], config.tail_s) == (0.7, 0.9, 0.11)


def test_fault_03_joint_states_expire_as_their_parameter_says():
    config = build.observation_config(parameters(joints__max_age_s=0.07), policy())
    assert config.max_ages_s()["joint_states"] == 0.07


def test_fault_22_stamps_may_be_as_far_ahead_as_the_parameter_says():
    config = build.observation_config(parameters(observation__future_tolerance_s=0.03), policy())
    assert config.future_tolerance_s == 0.03


def test_fault_25_sources_may_differ_by_as_much_as_the_parameter_says():
    config = build.observation_config(parameters(joints__conflict_tolerance=0.05), policy())
    assert config.conflict_tolerance_rad == 0.05


def test_fault_06_failures_in_a_row_are_counted_up_to_the_parameter():
    assert build.execution_config(parameters(execution__max_consecutive_errors=7)).max_consecutive_errors == 7


def test_joints_are_watched_even_if_the_policy_does_not_see_them():
    config = build.observation_config(parameters(), policy(state=None, environment=1))
    assert config.state_feature is None and config.joints == ("a", "b")


def test_fault_08_a_feature_that_no_input_provides_is_refused():
    wanting = policy()
    wanting.config.observed_features["observation.force"] = FeatureSpec(FeatureType.STATE, (6,))
    with pytest.raises(ConfigurationError, match=r"the policy needs 'observation.force' \(6,\), which no input"):
        build.observation_config(parameters(), wanting)


@pytest.mark.parametrize(
    ("changes", "sizes", "message"),
    [
        ({"joints__names": []}, {}, "joints.names: expected the joints in the order of the policy's action, got none"),
        ({"joints__names": ["a", "a"]}, {}, "joints.names: expected every joint once, got twice: a"),
        ({}, {"action": 3}, "expected 3 joints for the checkpoint's 'action', got 2 (a, b)"),
        ({}, {"state": 3}, "joints.names: expected 3 joints for the checkpoint's 'observation.state', got 2 (a, b)"),
        ({"joints__state_names": ["a", "b", "c"]}, {}, "joints.state_names: expected 2 joints"),
    ],
)
def test_fault_08_joints_that_cannot_be_the_policys_vectors_are_refused(changes, sizes, message):
    with pytest.raises(ConfigurationError) as error:
        build.check_joints(parameters(**changes), policy(**sizes))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs__arm__topic": ""}, "outputs.arm.topic: expected a command topic, got nothing"),
        ({"outputs__arm__joints": []}, "outputs.arm.joints: expected the controller's joints, got none"),
        ({"outputs__arm__joints": ["a", "x"]}, "outputs.arm.joints: 'x' is not one of joints.names"),
        ({"outputs__arm__joints": ["a"]}, "no output commands b"),
        (
            {"outputs__tool__topic": "t", "outputs__tool__joints": ["b"]},
            "outputs.tool.joints: 'b' already belongs to outputs.arm",
        ),
    ],
)
def test_fault_08_every_joint_is_commanded_by_exactly_one_output(changes, message):
    with pytest.raises(ConfigurationError) as error:
        build.check_outputs(parameters(**changes))
    assert message in str(error.value)


def test_no_output_at_all_points_to_the_dry_run():
    with pytest.raises(ConfigurationError, match="enable_commands"):
        build.check_outputs(dataclasses.replace(parameters(), outputs={}))


def test_scaling_of_the_state_follows_the_joint_names_not_their_position():
    given = parameters(joints__state_names=["b", "a"], joints__scale=[2.0, 10.0], joints__offset=[0.0, 1.0])
    config = build.observation_config(given, policy())
    assert config.joints == ("b", "a")
    assert config.scaling.to_policy(np.array([1.0, 1.0])).tolist() == [11.0, 2.0]
    assert build.action_scaling(given).to_robot(np.array([2.0, 11.0])).tolist() == [1.0, 1.0]
    assert build.measured_order(given) == [1, 0]


def test_fault_08_a_commanded_joint_that_is_not_measured_is_refused():
    with pytest.raises(ConfigurationError, match=r"joints.state_names: expected all joints that are commanded, b is"):
        build.measured_order(parameters(joints__state_names=["a", "c"]))


def test_a_scale_for_joints_outside_the_action_is_refused():
    given = parameters(joints__state_names=["a", "b", "c"], joints__scale=[1.0, 1.0])
    with pytest.raises(ConfigurationError, match=r"joints.scale: covers a, b only"):
        build.observation_config(given, policy(state=3))


def test_fault_09_an_output_may_reject_what_the_gate_clamps_elsewhere():
    outputs = {"arm": OutputParameters(joints=("a",), on_violation="reject"), "hand": OutputParameters(joints=("b",))}
    given = dataclasses.replace(parameters(gate__max_acceleration=[1.0, 2.0], gate__ramp_down_s=0.3), outputs=outputs)
    limits = build.make_gate(given).limits
    assert limits.reject.tolist() == [True, False]
    assert (limits.max_acceleration.tolist(), limits.ramp_down_s) == ([1.0, 2.0], 0.3)


def test_fault_09_of_parameters_and_urdf_the_tighter_limit_counts():
    urdf = """<robot name="r">
      <joint name="a" type="revolute"><limit lower="-1" upper="1" velocity="2" acceleration="5" jerk="50"/></joint>
      <joint name="b" type="continuous"><limit velocity="3"/></joint></robot>"""
    given = parameters(gate__position_max=[0.5, 9.0], gate__max_velocity=[4.0, 1.0])
    limits = build.make_gate(given, urdf).limits
    assert limits.lower.tolist() == [-1.0, -np.inf] and limits.upper.tolist() == [0.5, 9.0]
    assert limits.max_velocity.tolist() == [2.0, 1.0]
    assert limits.max_acceleration.tolist() == [5.0, np.inf] and limits.max_jerk.tolist() == [50.0, np.inf]


def test_gate_limits_need_one_value_for_each_joint():
    with pytest.raises(ConfigurationError, match=r"gate.position_min: expected one value for each of 2 joints"):
        build.make_gate(parameters(gate__position_min=[0.0]))
    gate = build.make_gate(parameters(gate__position_max=[1.0, 2.0], gate__on_violation="reject"))
    assert gate.limits.upper.tolist() == [1.0, 2.0] and gate.limits.reject.tolist() == [True, True]
    assert np.all(np.isinf(gate.limits.max_velocity))


def test_fault_08_a_camera_that_the_policy_lacks_is_refused_with_the_closest():
    with pytest.raises(ConfigurationError, match="did you mean 'observation.images.top'"):
        build.observation_config(
            parameters(cameras__tpo__topic="/t", cameras__top__topic="/u"), policy(cameras=("observation.images.top",))
        )


def test_two_cameras_for_one_feature_are_refused():
    given = parameters(cameras__a__feature="observation.images.top", cameras__b__feature="observation.images.top")
    with pytest.raises(ConfigurationError, match=r"cameras.b and cameras.a both feed 'observation.images.top'"):
        build.observation_config(given, policy(cameras=("observation.images.top",)))


def test_a_camera_that_nothing_feeds_is_refused():
    with pytest.raises(ConfigurationError, match=r"set cameras.<name>.feature of one camera to it"):
        build.observation_config(parameters(), policy(cameras=("observation.image",)))
