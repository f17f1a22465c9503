# SPDX-License-Identifier: Apache-2.0
"""What a policy's YAML file says, as values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from policy_ros.data import OBSERVATION_STATE, FeatureSpec, FeatureType
from policy_ros.errors import CheckpointError, ConfigurationError, closest
from policy_ros.policies.components.naming import Naming, naming_from_json, naming_to_json
from policy_ros.policies.components.yaml_files import inside, read_yaml
from policy_ros.policies.config import normalization_mapping_from_json
from policy_ros.policies.files import read_json, read_tensors
from policy_ros.policies.limits import MAX_FEATURES, MAX_STATISTICS_BYTES
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import DEFAULT_EPS, Statistics
from policy_ros.policies.relative import RelativeActions

POLICY_FILE = "policy.yaml"
POLICY = "policy"  # whose file of weights holds what is in no component

_SECTIONS = (
    "model",
    "checkpoint_path",
    "features",
    "normalization",
    "relative_actions",
    "rename_observations",
    "policy",
)


@dataclass(frozen=True)
class Description:
    """A policy's YAML file, with all that it refers to found.

    Attributes:
        file: the YAML file.
        components: name to the component's YAML file.
        weights: directory of ``{component}.safetensors``.
        naming: of the inputs.
        action: type and shape.
        modes: normalisation mode per feature type.
        eps: guards the divisions of normalisation.
        statistics: feature key to its statistics.
        relative: how actions are offsets from the state; None where they are absolute.
        rename_map: observation key to the policy's own key.
        type: name of the policy.
        options: of its own.
    """

    file: Path
    components: Mapping[str, Path]
    weights: Path
    naming: Naming
    action: FeatureSpec
    modes: Mapping[FeatureType, NormalizationMode]
    eps: float
    statistics: Statistics
    relative: RelativeActions | None
    rename_map: Mapping[str, str]
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)


def is_component_policy(path: Path) -> bool:
    """Whether a path is a policy's YAML file, or a directory that holds one."""
    return (path.suffix in (".yaml", ".yml") and path.is_file()) or (path / POLICY_FILE).is_file()


def read_description(file: Path) -> Description:
    """Read a policy's YAML file and the statistics beside it.

    Raises:
        CheckpointError: it cannot be read, lacks or has too many sections, or a section says what cannot be.
    """
    content = read_yaml(file)
    for key in content:
        if key not in _SECTIONS:
            raise CheckpointError(f"{file}: {key!r:.80} is no section: {closest(key, _SECTIONS)}")
    try:
        naming, action = naming_from_json(_mapping("features", content.get("features")))
        modes, eps, statistics = _normalization(file, content.get("normalization", {}))
        options = dict(_mapping("policy", content.get("policy")))
        kind = options.pop("type", None)
        if not isinstance(kind, str):
            raise ConfigurationError(f"policy.type: expected the name of a policy, got {kind!r:.80}")
        return Description(
            file=file,
            components=_components(file, content.get("model")),
            weights=_weights(file, content.get("checkpoint_path")),
            naming=naming,
            action=action,
            modes=modes,
            eps=eps,
            statistics=statistics,
            relative=_relative(content.get("relative_actions"), naming, action),
            rename_map=_renamed(content.get("rename_observations", {})),
            type=kind,
            options=options,
        )
    except ConfigurationError as error:
        raise CheckpointError(f"{file}: {error}") from error


def description_to_json(
    components: Mapping[str, str],
    naming: Naming,
    action: FeatureSpec,
    normalization: Mapping[str, Any],
    relative: RelativeActions | None,
    rename_map: Mapping[str, str],
    policy: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a policy's YAML file, which :func:`read_description` reads back."""
    content: dict[str, Any] = {
        "model": {"component_config_paths": dict(components)},
        "features": naming_to_json(naming, action),
        "normalization": dict(normalization),
    }
    if relative is not None:
        names = None if relative.action_names is None else list(relative.action_names)
        content["relative_actions"] = {"exclude_joints": list(relative.exclude_joints), "action_names": names}
    if rename_map:
        content["rename_observations"] = dict(rename_map)
    return {**content, "policy": dict(policy)}


def _components(file: Path, model: object) -> dict[str, Path]:
    section = _mapping("model", model)
    _check_keys("model", section, ("component_config_paths",))
    paths = _mapping("model.component_config_paths", section.get("component_config_paths"))
    if not 1 <= len(paths) <= MAX_FEATURES:
        raise ConfigurationError(f"model.component_config_paths: expected 1 to {MAX_FEATURES}, got {len(paths)}")
    for name in paths:
        # A name is part of a file name and of the names of tensors, and must be free among a module's attributes.
        if not name.isidentifier() or not name.isascii() or hasattr(torch.nn.ModuleDict, name) or name == POLICY:
            raise ConfigurationError(
                f"model.component_config_paths: expected names like 'encoder', of letters, digits and underscores "
                f"and none of a module's own ('{POLICY}', 'keys', 'forward', …), got {name!r:.80}"
            )
    return {name: inside(file.parent, path, f"{file}: component '{name}'") for name, path in paths.items()}


def _weights(file: Path, written: object) -> Path:
    if written is None:
        return file.parent.resolve()
    directory = inside(file.parent, written, f"{file}: checkpoint_path")
    if not directory.is_dir():
        raise CheckpointError(f"{file}: checkpoint_path: expected a directory, got the file {directory}")
    return directory


def _normalization(file: Path, written: object) -> tuple[dict[FeatureType, NormalizationMode], float, Statistics]:
    section = _mapping("normalization", written)
    _check_keys("normalization", section, ("modes", "eps", "statistics"))
    modes = normalization_mapping_from_json("normalization.modes", section.get("modes", {}))
    eps = section.get("eps", DEFAULT_EPS)
    if not isinstance(eps, int | float) or isinstance(eps, bool) or not 0 <= eps <= 1:
        raise ConfigurationError(f"normalization.eps: expected a number from 0 to 1, got {eps!r:.80}")
    named = section.get("statistics")
    if named is None:
        return modes, float(eps), {}
    return modes, float(eps), _statistics(inside(file.parent, named, f"{file}: normalization.statistics"))


def _statistics(path: Path) -> Statistics:
    """``<feature>.<statistic>`` of a safetensors file, or ``{feature: {statistic: [numbers]}}`` of a JSON file."""
    if path.suffix != ".json":
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in read_tensors(path, MAX_STATISTICS_BYTES).items():
            feature, _, statistic = name.rpartition(".")
            found.setdefault(feature, {})[statistic] = value
        return found
    try:
        return {
            feature: {name: torch.tensor(value, dtype=torch.float32) for name, value in statistics.items()}
            for feature, statistics in read_json(path).items()
        }
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: expected {{feature: {{statistic: [numbers]}}}}: {error}") from error


def _relative(written: object, naming: Naming, action: FeatureSpec) -> RelativeActions | None:
    if written is None:
        return None
    section = _mapping("relative_actions", written)
    _check_keys("relative_actions", section, ("exclude_joints", "action_names"))
    state = naming.features.get(OBSERVATION_STATE)
    if state is None or state.shape[0] < action.shape[0]:
        raise ConfigurationError(
            f"relative_actions: expected '{OBSERVATION_STATE}' with a value for each of the {action.shape[0]} actions"
        )
    names = section.get("action_names")
    return RelativeActions.excluding(
        _texts("relative_actions.exclude_joints", section.get("exclude_joints", [])),
        None if names is None else _texts("relative_actions.action_names", names),
        action.shape[0],
    )


def _renamed(written: object) -> dict[str, str]:
    section = _mapping("rename_observations", written)
    return dict(zip(section, _texts("rename_observations", list(section.values())), strict=True))


def _texts(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{where}: expected texts, got {value!r:.80}")
    return tuple(value)


def _mapping(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: expected a section with options, got {value!r:.80}")
    return value


def _check_keys(where: str, section: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in section:
        if key not in known:
            raise ConfigurationError(f"{where}: {key!r:.80} is no option: {closest(key, known)}")
