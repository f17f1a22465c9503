# SPDX-License-Identifier: Apache-2.0
"""From ``policy.*`` to a policy that is loaded, warmed up and ready to run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ACTION, OBSERVATION_STATE, FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.build import camera_feature, check_fit, state_names
from policy_ros.parameters.node import NodeParameters, PolicyParameters
from policy_ros.parameters.schema import json_object

if TYPE_CHECKING:
    from torch import Tensor

    from policy_ros.policies.base import Policy

_log = logging.getLogger(__name__)
_COLD_S = 1.0  # that a first inference may take without saying anything of the next: code is loaded, caches are filled

Features = dict[str, dict[str, FeatureSpec]]


def load_policy_for(parameters: NodeParameters) -> Policy:
    """The policy that ``policy.*`` names: a checkpoint, or fresh weights where that is allowed. Frozen and warmed up.

    Raises:
        PolicyRosError: what is wrong, in one line.
    """
    policy = load_cold_policy(parameters)
    check_fit(parameters, policy)  # before the warm-up, which may take minutes
    warm_up(parameters, policy)
    return policy


def warm_up(parameters: NodeParameters, policy: Policy) -> None:
    """Let a policy answer once, and say so where this machine is too slow for it by far.

    Of inferences as they are while the robot moves, executing asks again and more precisely.
    """
    _log.info("warming up '%s' on %s", policy.name, policy.device)
    first_s = policy.warmup()
    config, execution = policy.config, parameters.execution
    chunk_s = config.chunk_size / execution.rate_hz
    if first_s <= max(chunk_s, _COLD_S):
        return
    limit_s = execution.inference_timeout_s
    hangs = f", and one of more than execution.inference_timeout_s={limit_s:g} s to count as hung"
    _log.warning(
        "'%s' took %.1f s for its first inference on %s, its %d rows last %.2f s: expect the robot to wait between "
        "chunks%s%s",
        *(policy.name, first_s, policy.device, config.chunk_size, chunk_s),
        *(hangs if first_s > limit_s else "", f"; {config.speed_advice}" if config.speed_advice else ""),
    )


def load_cold_policy(parameters: NodeParameters) -> Policy:
    """As :func:`load_policy_for`, but not warmed up."""
    import torch

    torch.set_num_threads(parameters.policy.torch_threads)
    policy = _load_checkpoint(parameters) if parameters.policy.path else _make_untrained(parameters)
    policy.freeze()
    return policy


def _load_checkpoint(parameters: NodeParameters) -> Policy:
    from policy_ros.policies import load_policy

    wanted = parameters.policy
    path = checkpoint_of(wanted)
    policy = load_policy(path, device=wanted.device or None, revision=wanted.revision or None, shared=True)
    check_type(wanted, policy.name)
    return policy


def checkpoint_of(wanted: PolicyParameters) -> Path | str:
    """The directory that ``policy.path`` names, resolved, or a hub id.

    Raises:
        PolicyRosError: it is not there or not allowed, or other parameters contradict it.
    """
    from policy_ros.policies.hub import is_local
    from policy_ros.policies.roots import resolve_checkpoint

    if wanted.overrides:
        raise ConfigurationError("policy.overrides: only for fresh weights, but policy.path is set; remove one of them")
    if is_local(wanted.path):
        return resolve_checkpoint(wanted.path, wanted.roots)
    if wanted.roots:
        raise ConfigurationError(
            f"policy.path: expected a directory inside policy.roots ({', '.join(wanted.roots)}), got the hub id "
            f"'{wanted.path}'; download it there first"
        )
    return wanted.path


def check_type(wanted: PolicyParameters, name: str) -> None:
    """Refuse a checkpoint of another policy than ``policy.type`` says.

    Raises:
        ConfigurationError: both names.
    """
    if wanted.type and wanted.type != name:
        raise ConfigurationError(
            f"policy.type: expected '{wanted.type}', but the checkpoint in '{wanted.path}' is '{name}'; "
            "leave policy.type empty or correct it"
        )


def check_untrained(wanted: PolicyParameters) -> None:
    """Refuse fresh weights where they are not allowed, or of nothing in particular.

    Raises:
        ConfigurationError: what to set.
    """
    if not wanted.allow_untrained:
        raise ConfigurationError(
            "policy.path: expected a checkpoint directory or hub id, got nothing; set policy.path "
            "(or policy.allow_untrained for random weights on a simulated robot)"
        )
    if not wanted.type:
        raise ConfigurationError("policy.type: expected the name of a policy for fresh weights, got nothing")


def _make_untrained(parameters: NodeParameters) -> Policy:
    import torch

    from policy_ros.policies import make_policy
    from policy_ros.policies.features import features_to_json

    wanted = parameters.policy
    check_untrained(wanted)
    features = _features_of(parameters)
    options = {name: features_to_json(value) for name, value in features.items()}
    options.update(json_object("policy.overrides", wanted.overrides))
    statistics = _untrained_statistics(parameters, features)
    with torch.random.fork_rng():
        torch.manual_seed(wanted.seed)
        return make_policy(wanted.type, options, statistics=statistics, device=wanted.device or None)


def _untrained_statistics(parameters: NodeParameters, features: Features) -> dict[str, dict[str, Tensor]]:
    """Statistics that place untrained actions around a pose and pass all other features unchanged."""
    action = np.zeros(len(parameters.joints.names)), np.ones(len(parameters.joints.names))
    for i, label in enumerate(("untrained_mean", "untrained_std")):
        given = getattr(parameters.policy, label)
        if given and len(given) != len(parameters.joints.names):
            raise ConfigurationError(
                f"policy.{label}: expected one value for each of {len(parameters.joints.names)} joints.names, "
                f"got {len(given)}"
            )
        action[i][:] = given or action[i]
    statistics = {key: _spread(*_unit(feature)) for key, feature in features["input_features"].items()}
    return {**statistics, ACTION: _spread(*action)}


def _unit(feature: FeatureSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = (feature.shape[0], 1, 1) if feature.type is FeatureType.VISUAL else feature.shape
    return np.zeros(shape), np.ones(shape)


def _spread(mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, Tensor]:
    """The statistics of every normalisation mode for values that lie within ``mean ± std``."""
    import torch

    low = dict.fromkeys(("min", "q01", "q10"), mean - std)
    high = dict.fromkeys(("max", "q99", "q90"), mean + std)
    values = {"mean": mean, "std": std, **low, **high}
    return {name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in values.items()}


def _features_of(parameters: NodeParameters) -> Features:
    """What fresh weights take in and give out, from the joints and cameras that are configured."""
    inputs = {OBSERVATION_STATE: FeatureSpec(FeatureType.STATE, (len(state_names(parameters)),))}
    for name, camera in parameters.cameras.items():
        if len(camera.shape) != 3:
            raise ConfigurationError(
                f"cameras.{name}.shape: fresh weights need C, H, W such as [3, 240, 320], got {list(camera.shape)}"
            )
        inputs[camera_feature(name, camera)] = FeatureSpec(FeatureType.VISUAL, camera.shape)
    return {
        "input_features": inputs,
        "output_features": {ACTION: FeatureSpec(FeatureType.ACTION, (len(parameters.joints.names),))},
    }
