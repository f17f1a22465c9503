# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint says about itself, within milliseconds: its files are opened, nothing of a network is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_ros.data import FeatureSpec
from policy_ros.errors import CheckpointError, ConfigurationError, RegistryError, closest
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE, checked_directory
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.features import features_from_json
from policy_ros.policies.files import read_json, tensor_shapes
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES
from policy_ros.policies.registry import POLICY_REGISTRY


@dataclass(frozen=True)
class CheckpointPreview:
    """What can be known without loading.

    Attributes:
        name: of the policy.
        output_features: its outputs.
        config: its configuration; None for a plug-in whose code was not imported yet.
    """

    name: str
    output_features: Mapping[str, FeatureSpec]
    config: PolicyConfig | None


def preview_checkpoint(directory: Path, known: Collection[str]) -> CheckpointPreview:
    """Look at a checkpoint without reading its weights and without importing a plug-in.

    Found are: missing files, pickles, a configuration that is no JSON or that its policy refuses, a type that is not
    registered, weights that are truncated or no safetensors. Whether the weights fit the configuration only loading
    tells.

    Args:
        directory: resolved, and allowed.
        known: names of policies, since asking the registry takes longer than all of this.

    Raises:
        CheckpointError: it cannot be loaded, and why.
        RegistryError: its type is not known.
    """
    try:
        return _preview(checked_directory(directory), known)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be read: {error}") from error


def _preview(path: Path, known: Collection[str]) -> CheckpointPreview:
    file = path / CONFIG_FILE
    values = read_json(file)
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise RegistryError(
            f"{file}: expected 'type' to name a registered policy, got {kind!r:.80}: {closest(str(kind)[:80], known)}"
        )
    if not tensor_shapes(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES):
        raise CheckpointError(f"{path / WEIGHTS_FILE}: expected the tensors of a network, got none")
    cls = POLICY_REGISTRY.imported(kind)
    try:
        outputs = features_from_json("output_features", values.get("output_features"))
        return CheckpointPreview(kind, outputs, None if cls is None else cls.config_class.from_dict(values))
    except ConfigurationError as error:
        raise CheckpointError(f"{file}: {error}") from error
