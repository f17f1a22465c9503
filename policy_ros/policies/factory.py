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
) -> Policy:
    """The policy in a checkpoint directory or a hub repository, in evaluation mode.

    Args:
        path_or_hub_id: a directory, or ``owner/name`` on the hub. Whatever exists, or starts like a path, is a path.
        device: where to put it; None takes the GPU where there is one. The device in the checkpoint plays no part.
        revision: commit hash, for hub repositories only.

    Raises:
        CheckpointError: nothing there, corrupt, of an unsafe format, or not fitting its configuration.
        ConfigurationError: the device is not available, or the revision is missing or out of place.
        RegistryError: the checkpoint's policy is not registered.
    """
    from policy_ros.policies.checkpoint import load_checkpoint
    from policy_ros.policies.hub import fetch_checkpoint, is_local

    text = os.fspath(path_or_hub_id)
    if not is_local(text):
        return load_checkpoint(fetch_checkpoint(text, revision), device=device)
    if revision is not None:
        raise ConfigurationError(f"revision: expected none for the local path {text!r}, got {revision!r}")
    return load_checkpoint(Path(text).expanduser(), device=device)
