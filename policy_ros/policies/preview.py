# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint says about itself, within milliseconds: its files are opened, nothing of a network is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_ros.data import ACTION, FeatureSpec
from policy_ros.errors import CheckpointError, ConfigurationError, RegistryError, closest
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE, check_weights, checked_directory, refuse_pickles
from policy_ros.policies.components.description import POLICY_FILE, is_component_policy, read_description
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.features import features_from_json
from policy_ros.policies.files import read_json
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
        if is_component_policy(directory):
            return _preview_components(directory / POLICY_FILE if directory.is_dir() else directory, known)
        return _preview(checked_directory(directory), known)
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be read: {error}") from error


def _preview(path: Path, known: Collection[str]) -> CheckpointPreview:
    file = path / CONFIG_FILE
    values = read_json(file)
    kind = _known_type(file, values.get("type"), known)
    cls = POLICY_REGISTRY.imported(kind)
    try:
        outputs = features_from_json("output_features", values.get("output_features"))
        config = None if cls is None else cls.config_class.from_dict(values)
    except ConfigurationError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if cls is not None and config is not None:
        cls.check_files(path, config)
    else:
        _check_unknown(path)
    return CheckpointPreview(kind, outputs, config)


def _check_unknown(path: Path) -> None:
    """Where the network of a plug-in is, only its code knows; but pickles are never read, and weights are whole."""
    if (path / WEIGHTS_FILE).exists():
        check_weights(path / WEIGHTS_FILE)
    else:
        refuse_pickles(path)


def _preview_components(file: Path, known: Collection[str]) -> CheckpointPreview:
    description = read_description(file)
    kind = _known_type(file, description.type, known)
    for name in description.components:
        weights = description.weights / f"{name}.safetensors"
        if weights.exists():  # a component may have nothing to learn
            check_weights(weights)
    return CheckpointPreview(kind, {ACTION: description.action}, None)


def _known_type(file: Path, kind: object, known: Collection[str]) -> str:
    if isinstance(kind, str) and kind in known:
        return kind
    raise RegistryError(
        f"{file}: expected 'type' to name a registered policy, got {kind!r:.80}: {closest(str(kind)[:80], known)}"
    )
