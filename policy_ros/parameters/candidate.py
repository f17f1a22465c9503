# SPDX-License-Identifier: Apache-2.0
"""Whether a policy could take over from the running one, as far as can be told within milliseconds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError, closest
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.policy import check_type, check_untrained, checkpoint_of

if TYPE_CHECKING:
    from policy_ros.policies.config import PolicyConfig


@dataclass(frozen=True)
class _Configured:
    """A policy of which nothing but the configuration is there."""

    name: str
    config: PolicyConfig


def check_candidate(parameters: NodeParameters, known: Collection[str]) -> None:
    """Refuse a policy that cannot be loaded, or cannot run on this robot with these parameters.

    Opens the files of a checkpoint, but neither reads weights nor imports code. What it lets through may still fail to
    load: a hub id, the code of a plug-in that was not imported yet, weights that do not fit their configuration.

    Args:
        parameters: a full set, with the policy that is wanted.
        known: names of policies.

    Raises:
        PolicyRosError: why not, in one line.
    """
    wanted = parameters.policy
    if not wanted.path:
        _check_fresh(parameters, known)
        return
    path = checkpoint_of(wanted)
    if isinstance(path, Path):
        _check_directory(parameters, path, known)
    elif not wanted.revision:
        raise ConfigurationError(
            f"policy.revision: expected the commit hash of the hub checkpoint '{wanted.path}', got nothing; "
            "for a directory give a path that begins with '/', './' or '~'"
        )


def _check_fresh(parameters: NodeParameters, known: Collection[str]) -> None:
    wanted = parameters.policy
    check_untrained(wanted)
    if wanted.type not in known:
        raise ConfigurationError(f"policy.type: '{wanted.type}' is not registered; {closest(wanted.type, known)}")


def _check_directory(parameters: NodeParameters, path: Path, known: Collection[str]) -> None:
    from policy_ros.policies.preview import preview_checkpoint

    preview = preview_checkpoint(path, known)
    check_type(parameters.policy, preview.name)
    if preview.config is None:
        if ACTION in preview.output_features:
            build.check_action_size(parameters, preview.output_features[ACTION])
        return
    policy = _Configured(preview.name, preview.config)
    build.check_fit(parameters, policy)
