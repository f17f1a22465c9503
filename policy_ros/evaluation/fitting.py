# SPDX-License-Identifier: Apache-2.0
"""Policy and environment brought together: what each calls things, and whether they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from policy_ros.data import OBSERVATION_IMAGE_PREFIX, FeatureSpec, FeatureType, JointScaling
from policy_ros.errors import ConfigurationError, closest
from policy_ros.evaluation.gym_task import GymTask
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.pick_task import Camera, PickTask
from policy_ros.evaluation.task import Task
from policy_ros.parameters.build import action_scaling, camera_feature, check_joints
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.base import Policy
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.cameras import CAMERA_NAMES

_UNSEEN = (480, 640)  # size of a camera that the policy does not look at, which is never drawn


def make_task(policy: Policy, options: EvaluationOptions) -> Task:
    """An environment for this policy.

    Raises:
        ConfigurationError: the environment is unknown, or cannot feed the policy or take its actions.
    """
    wanted = wanted_features(policy)
    name_camera = _camera_names(options.parameters)
    scaling = _state_scaling(options.parameters)
    if options.env_id == ENVIRONMENT_ID:
        cameras = tuple(_camera(name, name_camera(name), wanted, options) for name in CAMERA_NAMES)
        task: Task = PickTask(options, cameras, policy.config.n_obs_steps, scaling)
    else:
        if options.image_size is not None:
            raise ConfigurationError(f"image_size: expected none for {options.env_id}, set its own in env_kwargs")
        task = GymTask(options, policy, name_camera, scaling)
    try:
        _check_fit(task, policy, wanted, options)
    except ConfigurationError:
        task.close()
        raise
    return task


def wanted_features(policy: Policy) -> dict[str, FeatureSpec]:
    """What an observation has to bring, under the keys that it has before the policy renames them."""
    sources = {target: source for source, target in policy.rename_map.items()}
    return {sources.get(key, key): spec for key, spec in policy.config.observed_features.items()}


def node_parameters(task: Task, options: EvaluationOptions) -> NodeParameters:
    """What the node would have: the given parameters, the mode, and the environment's rate and joints."""
    given = options.parameters or NodeParameters()
    joints = given.joints if given.joints.names else dataclasses.replace(given.joints, names=task.joint_names)
    execution = dataclasses.replace(given.execution, mode=options.mode or given.execution.mode, rate_hz=task.rate_hz)
    return dataclasses.replace(given, joints=joints, execution=execution)


def _camera(name: str, feature: str, wanted: dict[str, FeatureSpec], options: EvaluationOptions) -> Camera:
    spec = wanted.get(feature)
    size = options.image_size or (_UNSEEN if spec is None else (spec.shape[-2], spec.shape[-1]))
    return Camera(name, feature, size, drawn=spec is not None)


def _camera_names(parameters: NodeParameters | None) -> Callable[[str], str]:
    """Feature key of a camera: the parameters', else LeRobot's convention."""
    configured = {} if parameters is None else parameters.cameras

    def feature(name: str) -> str:
        return camera_feature(name, configured[name]) if name in configured else OBSERVATION_IMAGE_PREFIX + name

    return feature


def _state_scaling(parameters: NodeParameters | None) -> JointScaling | None:
    if parameters is None or not (parameters.joints.scale or parameters.joints.offset):
        return None
    if parameters.joints.state_names not in ((), parameters.joints.names):
        raise ConfigurationError("joints.state_names: expected none, or joints.names: an environment has one order")
    return action_scaling(parameters)


def _check_fit(task: Task, policy: Policy, wanted: dict[str, FeatureSpec], options: EvaluationOptions) -> None:
    offered = task.offered
    listed = ", ".join(f"{key} {shape}" for key, shape in offered.items())
    for key, spec in wanted.items():
        shape = offered.get(key)
        if shape is None:
            raise ConfigurationError(
                f"{options.env_id} cannot feed the policy's '{key}' {spec.shape}: {closest(key, offered)}"
            )
        visual = spec.type is FeatureType.VISUAL
        if (visual and (len(shape) != 3 or shape[0] != 3)) or (not visual and shape != spec.shape):
            raise ConfigurationError(
                f"{options.env_id}: expected '{key}' {spec.shape} for this policy, the environment has {listed}"
            )
    if task.action_shape != (policy.config.action_dim,):
        raise ConfigurationError(
            f"{options.env_id}: expected actions of shape {task.action_shape}, "
            f"the policy's have {policy.config.action_dim} values"
        )
    check_joints(node_parameters(task, options), policy)
