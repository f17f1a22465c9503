# SPDX-License-Identifier: Apache-2.0
"""Policies by name, with fresh weights, or by checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError
from policy_ros.policies.registry import POLICY_REGISTRY

if TYPE_CHECKING:
    import torch

    from policy_ros.policies.base import Policy
    from policy_ros.policies.components.policy import ComponentPolicy
    from policy_ros.policies.normalization import Statistics


def available_policies() -> tuple[str, ...]:
    """Names of the built-in policies and of installed plug-ins, sorted."""
    return POLICY_REGISTRY.names()


def make_policy(
    name: str,
    config_overrides: Mapping[str, Any] | None = None,
    *,
    statistics: Statistics | None = None,
    device: str | torch.device | None = None,
) -> Policy:
    """A policy with fresh weights, drawn from torch's global generator (seed it for repeatable weights).

    Args:
        name: a registered name.
        config_overrides: options that differ from the defaults, in the form they have in ``config.json``;
            ``input_features`` and ``output_features`` always.
        statistics: feature key to the data's statistics; without them values pass unchanged, by statistics that say so.
        device: where to put it; None takes the GPU where there is one.

    Raises:
        RegistryError: no such name.
        ConfigurationError: an option is unknown, missing or out of range, or the device is not available.
    """
    from policy_ros.policies.device import choose_device
    from policy_ros.policies.normalization import Normalization

    target = choose_device(device)
    cls = POLICY_REGISTRY.get(name)
    if cls.from_components:
        raise ConfigurationError(
            f"policy '{name}' is put together from components: expected a YAML file that names them, for build_policy"
        )
    config = cls.config_class.from_dict(config_overrides or {})
    if getattr(config, "pretrained_backbone_weights", None) is not None:
        raise ConfigurationError(
            "pretrained_backbone_weights: expected null for fresh weights, since none are downloaded; "
            "load a checkpoint to start from trained ones"
        )
    return cls(config, None if statistics is None else Normalization(config, statistics)).to(target)


def load_policy(
    path_or_hub_id: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    revision: str | None = None,
    shared: bool = False,
) -> Policy:
    """The policy in a checkpoint directory or a hub repository, in evaluation mode.

    A directory is in LeRobot's layout, or holds a ``policy.yaml`` that names components (docs/components.md).

    Args:
        path_or_hub_id: a directory, a policy's YAML file, or ``owner/name`` on the hub. Whatever exists, or starts like
            a path, is a path.
        device: where to put it; None takes the GPU where there is one. The device in the checkpoint plays no part.
        revision: commit hash, for hub repositories only.
        shared: for inference only, the policy is frozen: all policies that this process loads like this from the same
            file have one copy of its weights on the CPU, pinned where there is a GPU. It goes with the last of them.

    Raises:
        CheckpointError: nothing there, corrupt, of an unsafe format, or not fitting its configuration.
        ConfigurationError: the device is not available, or the revision is missing or out of place.
        RegistryError: the checkpoint's policy is not registered.
    """
    from policy_ros.policies.checkpoint import load_checkpoint
    from policy_ros.policies.hub import fetch_checkpoint, is_local

    text = os.fspath(path_or_hub_id)
    if not is_local(text):
        return load_checkpoint(fetch_checkpoint(text, revision), device=device, shared=shared)
    if revision is not None:
        raise ConfigurationError(f"revision: expected none for the local path {text!r}, got {revision!r}")
    return load_checkpoint(Path(text).expanduser(), device=device, shared=shared)


def build_policy(
    policy_yaml_path: str | os.PathLike[str],
    map_location: str | torch.device | None = "cpu",
    *,
    trained: bool = True,
    shared: bool = False,
) -> ComponentPolicy:
    """The policy that a YAML file puts together from components, in evaluation mode; see docs/components.md.

    Args:
        policy_yaml_path: the file, or the directory that holds ``policy.yaml``.
        map_location: where to put it; None takes the GPU where there is one.
        trained: with the weights beside the file; otherwise with fresh ones, from torch's global generator.
        shared: as for :func:`load_policy`.

    Raises:
        CheckpointError: a file is missing, outside the YAML file's directory, corrupt, of an unsafe format, or does
            not fit the others.
        ConfigurationError: the device is not available.
        RegistryError: the policy or a component is of a type that is not registered.
    """
    from policy_ros.policies.components import building

    return building.build_policy(policy_yaml_path, map_location, trained=trained, shared=shared)
