# SPDX-License-Identifier: Apache-2.0
"""A policy of components to its files."""

from __future__ import annotations

import os
from pathlib import Path

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError
from policy_ros.policies.components.building import weights_of
from policy_ros.policies.components.component import Component
from policy_ros.policies.components.description import POLICY_FILE, description_to_json
from policy_ros.policies.components.policy import ComponentPolicy
from policy_ros.policies.components.yaml_files import write_yaml
from policy_ros.policies.files import write_tensors

_COMPONENTS = "components"
_STATISTICS = "statistics.safetensors"
_FROM_SECTIONS = {"input_features", "output_features", "normalization_mapping", "n_obs_steps"}


def save_components(policy: ComponentPolicy, directory: str | os.PathLike[str]) -> None:
    """Write ``policy.yaml``, ``components/{name}.yaml``, ``{name}.safetensors`` and ``statistics.safetensors``.

    Raises:
        ConfigurationError: a component is of no registered kind, so that no YAML file can describe it.
    """
    described = {name: _described(name, module) for name, module in policy.components.items()}
    path = Path(directory)
    (path / _COMPONENTS).mkdir(parents=True, exist_ok=True)
    # Written last, so that an interrupted save cannot be taken for a whole checkpoint.
    (path / POLICY_FILE).unlink(missing_ok=True)
    for name, options in described.items():
        write_yaml(path / _COMPONENTS / f"{name}.yaml", options)
    for name, tensors in weights_of(policy).items():
        write_tensors(path / f"{name}.safetensors", tensors)
    config = policy.config
    options = {key: value for key, value in config.to_dict().items() if key not in _FROM_SECTIONS}
    content = description_to_json(
        {name: f"{_COMPONENTS}/{name}.yaml" for name in described},
        policy.naming,
        config.output_features[ACTION],
        _normalization(policy, path),
        policy.relative,
        policy.rename_map,
        {"type": policy.name, **options},
    )
    write_yaml(path / POLICY_FILE, content)


def _described(name: str, module: object) -> dict[str, object]:
    if not isinstance(module, Component):
        raise ConfigurationError(
            f"component '{name}': expected a {Component.__name__}, which a YAML file can describe, "
            f"got {type(module).__name__}"
        )
    return {"type": module.name, **module.options.to_dict()}


def _normalization(policy: ComponentPolicy, path: Path) -> dict[str, object]:
    statistics = policy.normalization.statistics()
    modes = {kind.value: mode.value for kind, mode in policy.config.normalization_mapping.items()}
    section: dict[str, object] = {"modes": modes, "eps": policy.normalization.eps}
    if statistics:
        named = {f"{key}.{name}": value for key, values in statistics.items() for name, value in values.items()}
        write_tensors(path / _STATISTICS, named)
        section["statistics"] = _STATISTICS
    return section
