# SPDX-License-Identifier: Apache-2.0
"""From parameters and a policy's features to the parts that run: what the node and a bag replay have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import (
    ACTION,
    OBSERVATION_ENVIRONMENT_STATE,
    OBSERVATION_IMAGE_PREFIX,
    OBSERVATION_STATE,
    FeatureSpec,
    FeatureType,
    JointScaling,
)
from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution import ExecutionConfig, Gate, GateLimits, Strategy, make_strategy
from policy_ros.execution.gate.urdf import read_joint_limits
from policy_ros.observation import CameraStream, ObservationConfig, VectorStream
from policy_ros.parameters.node import CameraParameters, NodeParameters
from policy_ros.rtc import GuidanceOptions

if TYPE_CHECKING:
    from policy_ros.policies.config import PolicyConfig


class Configured(Protocol):
    """A policy, or what is known of one that is not loaded yet."""

    @property
    def name(self) -> str:
        """As it is registered."""
        ...

    @property
    def config(self) -> PolicyConfig:
        """Features and sizes."""
        ...


def camera_feature(name: str, camera: CameraParameters) -> str:
    """Feature key that a camera feeds."""
    return camera.feature or OBSERVATION_IMAGE_PREFIX + name


def with_cameras_of(parameters: NodeParameters, policy: Configured) -> NodeParameters:
    """The parameters and, for cameras that the checkpoint needs and no parameter mentions, their defaults.

    Such a camera is named after its feature: ``top`` for ``observation.images.top``, ``image`` for
    ``observation.image``.
    """
    configured = {camera_feature(name, camera) for name, camera in parameters.cameras.items()}
    cameras = dict(parameters.cameras)
    for key, feature in policy.config.observed_features.items():
        if feature.type is FeatureType.VISUAL and key not in configured:
            cameras.setdefault(key.rsplit(".", 1)[-1], CameraParameters(feature=key))
    return dataclasses.replace(parameters, cameras=cameras)


def check_fit(parameters: NodeParameters, policy: Configured) -> None:
    """Refuse a policy that cannot run on this robot with these parameters, whatever the robot sends.

    Raises:
        ConfigurationError: they do not fit each other.
    """
    parameters = with_cameras_of(parameters, policy)
    check_joints(parameters, policy)
    measured_order(parameters)
    observation_config(parameters, policy)
    strategy(parameters, policy)
    make_gate(parameters)


def state_names(parameters: NodeParameters) -> tuple[str, ...]:
    return parameters.joints.state_names or parameters.joints.names


def check_joints(parameters: NodeParameters, policy: Configured) -> None:
    """Refuse joint names that cannot be the policy's vectors.

    Raises:
        ConfigurationError: no names, a name twice, another count than the checkpoint's, or rows that are no positions.
    """
    if policy.config.unfit_for_robots:
        raise ConfigurationError(f"policy '{policy.name}' cannot lead a robot: {policy.config.unfit_for_robots}")
    names = parameters.joints.names
    if not names:
        raise ConfigurationError("joints.names: expected the joints in the order of the policy's action, got none")
    for label, group in (("joints.names", names), ("joints.state_names", parameters.joints.state_names)):
        doubles = sorted({name for name in group if group.count(name) > 1})
        if doubles:
            raise ConfigurationError(f"{label}: expected every joint once, got twice: {', '.join(doubles)}")
    check_action_size(parameters, policy.config.output_features[ACTION])
    state = policy.config.observed_features.get(OBSERVATION_STATE)
    if state is not None:
        label = "joints.state_names" if parameters.joints.state_names else "joints.names"
        _check_size(label, state_names(parameters), state, OBSERVATION_STATE)


def check_action_size(parameters: NodeParameters, action: FeatureSpec) -> None:
    """Refuse a policy that commands another number of joints than the robot has.

    Raises:
        ConfigurationError: both counts.
    """
    _check_size("joints.names", parameters.joints.names, action, ACTION)


def _check_size(label: str, names: Sequence[str], feature: FeatureSpec, key: str) -> None:
    if (len(names),) != feature.shape:
        raise ConfigurationError(
            f"{label}: expected {feature.shape[0]} joints for the checkpoint's '{key}', "
            f"got {len(names)} ({', '.join(names)})"
        )


def action_scaling(parameters: NodeParameters) -> JointScaling:
    """Units of the action vector."""
    joints = parameters.joints
    identity = JointScaling.identity(joints.names)
    return JointScaling(
        joints.names,
        np.asarray(joints.scale) if joints.scale else identity.scale,
        np.asarray(joints.offset) if joints.offset else identity.offset,
    )


def state_scaling(parameters: NodeParameters) -> JointScaling:
    """Units of the state vector: those of the action joint of the same name."""
    action = action_scaling(parameters)
    names = state_names(parameters)
    if not (parameters.joints.scale or parameters.joints.offset):
        return JointScaling.identity(names)
    unknown = [name for name in names if name not in action.names]
    if unknown:
        raise ConfigurationError(
            f"joints.scale: covers {', '.join(action.names)} only, but joints.state_names has {', '.join(unknown)}; "
            "leave scale and offset empty or name the same joints"
        )
    order = [action.names.index(name) for name in names]
    return JointScaling(names, action.scale[order], action.offset[order])


def observation_config(parameters: NodeParameters, policy: Configured) -> ObservationConfig:
    """What to assemble for this policy.

    Raises:
        ConfigurationError: a feature that nothing can feed, or a camera that the policy does not have.
    """
    return observation_of(parameters, policy.config.observed_features, policy.config.n_obs_steps)


def observation_of(
    parameters: NodeParameters, features: Mapping[str, FeatureSpec], n_obs_steps: int = 1
) -> ObservationConfig:
    """What to assemble for these features, be there a policy already or not. Sizes of images play no part.

    Raises:
        ConfigurationError: a feature that nothing can feed, or a camera that none of the features is of.
    """
    observation = parameters.observation
    feeders = _camera_of_each_feature(parameters)
    environment = None
    cameras = []
    for key, feature in features.items():
        if feature.type is FeatureType.VISUAL:
            if key not in feeders:
                raise ConfigurationError(f"the policy needs '{key}': set cameras.<name>.feature of one camera to it")
            name = feeders.pop(key)
            camera = parameters.cameras[name]
            cameras.append(
                CameraStream(
                    name,
                    key,
                    max_age_s=camera.max_age_s,
                    frozen_after_s=camera.frozen_after_s,
                    frozen_holds=camera.on_frozen == "hold",
                )
            )
        elif key == OBSERVATION_ENVIRONMENT_STATE:
            environment = VectorStream(feature.shape[0], max_age_s=observation.environment_max_age_s)
        elif key != OBSERVATION_STATE:
            raise ConfigurationError(f"the policy needs '{key}' {feature.shape}, which no input of this node provides")
    _refuse_idle_cameras(parameters, feeders, features)
    return ObservationConfig(
        joints=state_names(parameters),
        scaling=state_scaling(parameters),
        state_feature=OBSERVATION_STATE if OBSERVATION_STATE in features else None,
        cameras=tuple(cameras),
        environment_state=environment,
        joint_max_age_s=parameters.joints.max_age_s,
        tail_s=observation.tail_s,
        max_skew_s=observation.max_skew_s,
        future_tolerance_s=observation.future_tolerance_s,
        n_obs_steps=n_obs_steps,
        dt_s=1.0 / parameters.execution.rate_hz,
        conflict_tolerance_rad=parameters.joints.conflict_tolerance,
    )


def _refuse_idle_cameras(
    parameters: NodeParameters, idle: Mapping[str, str], features: Mapping[str, FeatureSpec]
) -> None:
    """A camera that the policy does not look at is a mistake, unless it is there for another policy."""
    for key, name in idle.items():
        if not parameters.cameras[name].optional:
            visual = [k for k, f in features.items() if f.type is FeatureType.VISUAL]
            raise ConfigurationError(
                f"cameras.{name}: the policy has no feature '{key}'; {closest(key, visual)}. "
                f"If the camera is there for another policy set cameras.{name}.optional to true"
            )


def _camera_of_each_feature(parameters: NodeParameters) -> dict[str, str]:
    feeders: dict[str, str] = {}
    for name, camera in parameters.cameras.items():
        other = feeders.setdefault(camera_feature(name, camera), name)
        if other != name:
            raise ConfigurationError(f"cameras.{name} and cameras.{other} both feed '{camera_feature(name, camera)}'")
    return feeders


def execution_config(parameters: NodeParameters) -> ExecutionConfig:
    """Settings of the executor."""
    execution = parameters.execution
    return ExecutionConfig(
        rate_hz=execution.rate_hz,
        mode=execution.mode,
        execution_horizon=execution.execution_horizon,
        lookahead_steps=execution.lookahead_steps,
        max_consecutive_errors=execution.max_consecutive_errors,
        inference_timeout_s=execution.inference_timeout_s,
        ensemble_coeff=execution.ensemble_coeff,
        delay_estimator=execution.delay_estimator,
        delay_window=execution.delay_window,
        delay_quantile=execution.delay_quantile,
        guidance=GuidanceOptions(
            schedule=parameters.rtc.schedule,
            max_weight=parameters.rtc.max_guidance_weight,
            jacobian=parameters.rtc.jacobian,
        ),
        rtc_fallback=parameters.rtc.fallback,
        added_delay_s=execution.added_delay_s,
    )


def strategy(parameters: NodeParameters, policy: Configured) -> Strategy:
    """How this policy's chunks are to follow one another.

    Raises:
        ConfigurationError: mode or horizon do not fit the policy.
    """
    config = policy.config
    return make_strategy(
        execution_config(parameters),
        horizon=config.chunk_size,
        n_action_steps=config.execution_rows,
        supports_guidance=config.supports_guidance,
    )


def make_gate(parameters: NodeParameters, robot_description: str | None = None) -> Gate:
    """The gate with the limits of ``gate.*``, in the order of ``joints.names``.

    Args:
        parameters: limits that are set.
        robot_description: URDF; of its limits and those that are set the tighter ones count.

    Raises:
        ConfigurationError: a list that has another length than the joints, a lower limit above the upper one, or a
            description without the joints.
    """
    limits = _limits_of_parameters(parameters)
    return Gate(limits if robot_description is None else _tightened(limits, robot_description))


def _tightened(limits: GateLimits, robot_description: str) -> GateLimits:
    joints = read_joint_limits(robot_description, limits.names)
    described = [joints[name] for name in limits.names]
    return dataclasses.replace(
        limits,
        lower=np.maximum(limits.lower, [joint.lower for joint in described]),
        upper=np.minimum(limits.upper, [joint.upper for joint in described]),
        max_velocity=np.minimum(limits.max_velocity, [joint.velocity for joint in described]),
        max_acceleration=np.minimum(limits.max_acceleration, [joint.acceleration for joint in described]),
        max_jerk=np.minimum(limits.max_jerk, [joint.jerk for joint in described]),
    )


def _limits_of_parameters(parameters: NodeParameters) -> GateLimits:
    gate = parameters.gate
    names = parameters.joints.names

    def per_joint(label: str, values: Sequence[float], unlimited: float) -> NDArray[np.float64]:
        if values and len(values) != len(names):
            raise ConfigurationError(
                f"gate.{label}: expected one value for each of {len(names)} joints ({', '.join(names)}), "
                f"got {len(values)}"
            )
        return np.asarray(values, dtype=np.float64) if values else np.full(len(names), unlimited)

    return GateLimits(
        names=names,
        lower=per_joint("position_min", gate.position_min, -np.inf),
        upper=per_joint("position_max", gate.position_max, np.inf),
        max_velocity=per_joint("max_velocity", gate.max_velocity, np.inf),
        max_jump=per_joint("max_jump", gate.max_jump, np.inf),
        margin=gate.margin,
        reject=_rejecting(parameters),
        max_acceleration=per_joint("max_acceleration", gate.max_acceleration, np.inf),
        max_jerk=per_joint("max_jerk", gate.max_jerk, np.inf),
        ramp_down_s=gate.ramp_down_s,
    )


def _rejecting(parameters: NodeParameters) -> NDArray[np.bool_]:
    """Which joints refuse what others clamp."""
    by_joint = {joint: output.on_violation for output in parameters.outputs.values() for joint in output.joints}
    choices = [by_joint.get(name, "") or parameters.gate.on_violation for name in parameters.joints.names]
    return np.array([choice == "reject" for choice in choices], dtype=np.bool_)


def measured_order(parameters: NodeParameters) -> list[int]:
    """Columns of the state vector that are the action joints, in action order.

    Raises:
        ConfigurationError: an action joint that is not in ``joints.state_names``: its commands could not be checked.
    """
    state = state_names(parameters)
    missing = [name for name in parameters.joints.names if name not in state]
    if missing:
        raise ConfigurationError(
            f"joints.state_names: expected all joints that are commanded, {', '.join(missing)} is missing; "
            "the gate compares every command with the measured position"
        )
    return [state.index(name) for name in parameters.joints.names]


def check_outputs(parameters: NodeParameters) -> None:
    """Refuse outputs that leave a joint without a command topic, or command one twice.

    Raises:
        ConfigurationError: names the joint and the outputs.
    """
    if not parameters.outputs:
        raise ConfigurationError(
            "outputs: expected at least one, e.g. outputs.arm.topic and outputs.arm.joints, got none; "
            "or set enable_commands to false for a dry run"
        )
    owner: dict[str, str] = {}
    for name, output in parameters.outputs.items():
        if not output.topic:
            raise ConfigurationError(f"outputs.{name}.topic: expected a command topic, got nothing")
        if not output.joints:
            raise ConfigurationError(f"outputs.{name}.joints: expected the controller's joints, got none")
        for joint in output.joints:
            if joint not in parameters.joints.names:
                raise ConfigurationError(
                    f"outputs.{name}.joints: '{joint}' is not one of joints.names; "
                    f"{closest(joint, parameters.joints.names)}"
                )
            if joint in owner:
                raise ConfigurationError(f"outputs.{name}.joints: '{joint}' already belongs to outputs.{owner[joint]}")
            owner[joint] = name
    missing = [joint for joint in parameters.joints.names if joint not in owner]
    if missing:
        raise ConfigurationError(f"outputs: no output commands {', '.join(missing)}; add them to an output's joints")
