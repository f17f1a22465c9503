# SPDX-License-Identifier: Apache-2.0
"""From a policy's YAML file to a policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.data import ACTION
from policy_ros.errors import CheckpointError, ConfigurationError, RegistryError
from policy_ros.policies.checkpoint import check_fit
from policy_ros.policies.components.component import Component
from policy_ros.policies.components.config import ComponentConfig
from policy_ros.policies.components.description import POLICY, POLICY_FILE, Description, read_description
from policy_ros.policies.components.policy import ComponentPolicy
from policy_ros.policies.components.registry import COMPONENT_REGISTRY
from policy_ros.policies.components.yaml_files import read_yaml
from policy_ros.policies.device import choose_device
from policy_ros.policies.features import features_to_json
from policy_ros.policies.files import PICKLE_ADVICE, PICKLE_SUFFIXES, tensor_shapes
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.policies.weights import Weights, place

_PREFIX = "components."  # of the tensors of components among those of a policy

# A file of weights to its tensors' own names and those in the policy.
_Files = dict[Path, dict[str, str]]


class _Plan(NamedTuple):
    """A description whose names are looked up and whose options are checked."""

    description: Description
    cls: type[ComponentPolicy]
    config: ComponentConfig
    normalization: Normalization


def build_policy(
    policy_yaml_path: str | os.PathLike[str],
    map_location: str | torch.device | None = "cpu",
    *,
    trained: bool = True,
    shared: bool = False,
) -> ComponentPolicy:
    """See :func:`policy_ros.policies.build_policy`."""
    device = choose_device(map_location)
    path = Path(policy_yaml_path).expanduser()
    try:
        return _build(path / POLICY_FILE if path.is_dir() else path, device, trained, shared)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _build(file: Path, device: torch.device, trained: bool, shared: bool) -> ComponentPolicy:
    description = read_description(file)
    plan = _plan(description)
    files = _weight_files(plan) if trained else {}
    policy = _make(plan)
    if files:
        weights = {path: Weights.of(path, shared=shared) for path in files}
        found: dict[str, Tensor] = {}
        for path, names in files.items():
            try:
                held = weights[path].named(names)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from None
            found.update({names[name]: value for name, value in held.items()})
        place(policy, found, device, keep=list(weights.values()) if shared else [])
    policy.to(device).eval()
    if shared:
        policy.freeze()
    return policy


def _plan(description: Description) -> _Plan:
    cls = _policy_class(description)
    features = {
        "input_features": features_to_json(description.naming.features),
        "output_features": features_to_json({ACTION: description.action}),
        "normalization_mapping": {kind.value: mode.value for kind, mode in description.modes.items()},
        "n_obs_steps": description.naming.steps,
    }
    try:
        config = cls.config_class.from_dict({**features, **_with_action_steps(description.options)})
        assert isinstance(config, ComponentConfig)
        return _Plan(description, cls, config, Normalization(config, description.statistics, description.eps))
    except (ConfigurationError, CheckpointError) as error:
        raise CheckpointError(f"{description.file}: {error}") from error


def _make(plan: _Plan) -> ComponentPolicy:
    """With fresh weights."""
    description = plan.description
    components = {name: _make_component(name, file) for name, file in description.components.items()}
    try:
        policy = plan.cls(components, plan.config, plan.normalization, naming=description.naming)
    except ConfigurationError as error:
        raise CheckpointError(f"{description.file}: {error}") from error
    except Exception as error:  # of a plug-in's code
        raise CheckpointError(
            f"{description.file}: policy '{description.type}' cannot be put together from "
            f"{', '.join(components)}: {type(error).__name__}: {error}"
        ) from error
    policy.relative = description.relative
    policy.rename_map = description.rename_map
    return policy


def _policy_class(description: Description) -> type[ComponentPolicy]:
    try:
        cls = POLICY_REGISTRY.get(description.type)
    except RegistryError as error:
        raise RegistryError(f"{description.file}: policy.type: {error}") from error
    if not (issubclass(cls, ComponentPolicy) and issubclass(cls.config_class, ComponentConfig)):
        raise CheckpointError(
            f"{description.file}: policy.type: expected a {ComponentPolicy.__name__} with {ComponentConfig.__name__}, "
            f"but '{description.type}' is not put together from components; its checkpoints have a config.json"
        )
    return cls


def _with_action_steps(options: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("input_features", "output_features", "normalization_mapping", "n_obs_steps"):
        if key in options:
            raise ConfigurationError(f"policy.{key}: follows from the sections 'features' and 'normalization'")
    steps = {"n_action_steps": options["chunk_size"]} if "chunk_size" in options else {}
    return {**steps, **options}


def _make_component(name: str, file: Path) -> Component:
    options = read_yaml(file)
    kind = options.pop("type", None)
    if not isinstance(kind, str):
        known = ", ".join(COMPONENT_REGISTRY.names())
        raise CheckpointError(f"{file}: expected 'type' to name the component's type, got {kind!r:.80}; known: {known}")
    try:
        cls = COMPONENT_REGISTRY.get(kind)
        return cls(cls.options_class.from_dict(options))
    except RegistryError as error:
        raise RegistryError(f"{file}: {error}") from error
    except ConfigurationError as error:
        raise CheckpointError(f"{file}: component '{name}' ({kind}): {error}") from error
    except Exception as error:  # of a plug-in's code
        raise CheckpointError(
            f"{file}: component '{name}' ({kind}) cannot be built: {type(error).__name__}: {error}"
        ) from error


def _weight_files(plan: _Plan) -> _Files:
    """The files of weights, each known to fit; nothing of the network's size is allocated for that."""
    description = plan.description
    with torch.device("meta"):
        policy = _make(plan)
    tensors = policy.state_dict()
    files: _Files = {}
    for name in (*description.components, POLICY):
        prefix = "" if name == POLICY else f"{_PREFIX}{name}."
        expected = {key.removeprefix(prefix): value for key, value in tensors.items() if _owner(key) == name}
        if not expected:  # nothing to learn in it
            continue
        path = _weight_file(description, name)
        shapes = tensor_shapes(path, MAX_WEIGHTS_BYTES)
        computed = frozenset(key.removeprefix(prefix) for key in policy.computed_buffers if _owner(key) == name)
        check_fit(path, expected, shapes, computed, described_in=_described(description, name))
        files[path] = {key: prefix + key for key in expected if key in shapes}
    return files


def _weight_file(description: Description, name: str) -> Path:
    path = description.weights / f"{name}.safetensors"
    if not path.exists():
        pickles = [suffix for suffix in PICKLE_SUFFIXES if (description.weights / f"{name}{suffix}").exists()]
        if pickles:
            raise CheckpointError(f"expected {path}, got {name}{pickles[0]}; {PICKLE_ADVICE}")
        raise CheckpointError(f"{description.file}: expected the weights of '{name}' in {path}, found nothing")
    real = path.resolve()
    if not real.is_relative_to(description.file.parent.resolve()):
        raise CheckpointError(f"{path}: expected a file inside {description.file.parent}, but it links to {real}")
    return real


def _described(description: Description, name: str) -> str:
    return description.file.name if name == POLICY else description.components[name].name


def _owner(key: str) -> str:
    """The component that a tensor of a policy belongs to, or the policy itself."""
    return key.split(".")[1] if key.startswith(_PREFIX) else POLICY


def weights_of(policy: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The tensors of each component, and under ``policy`` those that are in none."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in policy.state_dict().items():
        owner = _owner(key)
        own = key if owner == POLICY else key.removeprefix(f"{_PREFIX}{owner}.")
        found.setdefault(owner, {})[own] = value
    return found
