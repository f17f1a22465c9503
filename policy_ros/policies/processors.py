# SPDX-License-Identifier: Apache-2.0
"""LeRobot's pre- and post-processor files: which observation keys are renamed, and how values are normalised.

A pipeline is a JSON list of steps, each with a registered name, options, and for the normalisers a safetensors file of
statistics named ``<feature>.<statistic>``. Every step and every option is either honoured or refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from policy_ros.data import ACTION, OBSERVATION_STATE, FeatureType
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.config import PolicyConfig, normalization_mapping_from_json
from policy_ros.policies.features import features_from_json, features_to_json
from policy_ros.policies.files import read_json, read_tensors, write_json, write_tensors
from policy_ros.policies.limits import MAX_STATISTICS_BYTES
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import DEFAULT_EPS, Statistics
from policy_ros.policies.relative import RelativeActions

PREPROCESSOR = "policy_preprocessor"
POSTPROCESSOR = "policy_postprocessor"

_RENAME, _BATCH, _DEVICE = "rename_observations_processor", "to_batch_processor", "device_processor"
_NORMALIZER, _UNNORMALIZER = "normalizer_processor", "unnormalizer_processor"
_RELATIVE, _ABSOLUTE = "relative_actions_processor", "absolute_actions_processor"
_STEPS = {
    PREPROCESSOR: (_RENAME, _BATCH, _DEVICE, _RELATIVE, _NORMALIZER),
    POSTPROCESSOR: (_UNNORMALIZER, _ABSOLUTE, _DEVICE),
}
_OPTIONS = {
    _RENAME: {"rename_map"},
    _BATCH: set(),
    _DEVICE: {"device", "float_dtype"},
    _RELATIVE: {"enabled", "exclude_joints", "action_names"},
    _ABSOLUTE: {"enabled"},
    _NORMALIZER: {"eps", "features", "norm_map"},
    _UNNORMALIZER: {"eps", "features", "norm_map"},
}

_WrittenStep = tuple[str, dict[str, Any]]  # registered name, options


@dataclass(frozen=True)
class Processors:
    """What the two pipelines say.

    Attributes:
        mapping: normalisation mode per feature type.
        eps: guards divisions.
        statistics: feature key to its statistics.
        rename_map: observation key to the policy's own key.
        relative: how actions are offsets from the state; None where they are absolute.
    """

    mapping: Mapping[FeatureType, NormalizationMode]
    eps: float
    statistics: Statistics
    rename_map: Mapping[str, str]
    relative: RelativeActions | None = None


@dataclass(frozen=True)
class _Step:
    where: str
    name: str
    options: Mapping[str, Any]
    statistics: Statistics


def read_processors(directory: Path, config: PolicyConfig) -> Processors | None:
    """Read both pipelines; None if there are none, as in the older layout.

    Raises:
        CheckpointError: one of the two is missing, a step or an option is unknown, or the two contradict each other.
    """
    present = [name for name in (PREPROCESSOR, POSTPROCESSOR) if (directory / f"{name}.json").exists()]
    if not present:
        return None
    before = _read_pipeline(directory, PREPROCESSOR)
    after = _read_pipeline(directory, POSTPROCESSOR)
    normalizer, unnormalizer = _only(before, _NORMALIZER), _only(after, _UNNORMALIZER)
    mapping, eps = _normalization(normalizer, config)
    mapping_after, eps_after = _normalization(unnormalizer, config)
    same_mode = mapping.get(FeatureType.ACTION) == mapping_after.get(FeatureType.ACTION)
    if not same_mode or eps != eps_after or not _same_action_statistics(normalizer, unnormalizer):
        raise CheckpointError(
            f"{directory}: the normalisation of '{ACTION}' differs between {PREPROCESSOR}.json and {POSTPROCESSOR}.json"
        )
    statistics = {**normalizer.statistics, ACTION: unnormalizer.statistics.get(ACTION, {})}
    return Processors(mapping, eps, statistics, _rename_map(before), _relative(before, after, config))


def write_processors(directory: Path, config: PolicyConfig, processors: Processors, device: str) -> None:
    """Write both pipelines with their statistics, as LeRobot 0.6.1 lays them out."""
    norm_map = {kind.value: mode.value for kind, mode in processors.mapping.items()}
    inputs, outputs = features_to_json(config.input_features), features_to_json(config.output_features)
    placement: _WrittenStep = (_DEVICE, {"device": device, "float_dtype": None})
    before: list[_WrittenStep] = [
        (_RENAME, {"rename_map": dict(processors.rename_map)}),
        (_BATCH, {}),
        placement,
        *_relative_step(processors.relative),
        (_NORMALIZER, {"eps": processors.eps, "features": {**inputs, **outputs}, "norm_map": norm_map}),
    ]
    after: list[_WrittenStep] = [
        (_UNNORMALIZER, {"eps": processors.eps, "features": outputs, "norm_map": norm_map}),
        *([] if processors.relative is None else [(_ABSOLUTE, {"enabled": True})]),
        placement,
    ]
    _write_pipeline(directory, PREPROCESSOR, before, processors.statistics)
    _write_pipeline(directory, POSTPROCESSOR, after, processors.statistics)


def _read_pipeline(directory: Path, pipeline: str) -> list[_Step]:
    path = directory / f"{pipeline}.json"
    steps = read_json(path).get("steps")
    if not isinstance(steps, list):
        raise CheckpointError(f"{path}: expected a list of steps, got {type(steps).__name__}")
    return [_read_step(path, pipeline, index, step) for index, step in enumerate(steps)]


def _read_step(path: Path, pipeline: str, index: int, step: object) -> _Step:
    where = f"{path}: step {index}"
    if not isinstance(step, dict) or not isinstance(step.get("config", {}), dict):
        raise CheckpointError(f"{where}: expected {{registry_name, config}}, got {step!r:.80}")
    name, options = step.get("registry_name"), step.get("config", {})
    known = _STEPS[pipeline]
    if name not in known:
        raise CheckpointError(f"{where} is {name or step.get('class')!r:.80}: expected one of {', '.join(known)}")
    unknown = set(step) - {"registry_name", "config", "state_file"} | set(options) - _OPTIONS[name]
    if unknown:
        raise CheckpointError(f"{where} ('{name}') has options that are not implemented: {sorted(unknown)!r:.80}")
    if name == _DEVICE and options.get("float_dtype") not in (None, "float32"):
        raise CheckpointError(f"{where} ('{name}'): expected float_dtype null, got {options['float_dtype']!r:.80}")
    return _Step(f"{where} ('{name}')", name, options, _read_statistics(path.parent, where, step.get("state_file")))


def _read_statistics(directory: Path, where: str, state_file: object) -> Statistics:
    if state_file is None:
        return {}
    if (
        not isinstance(state_file, str)
        or Path(state_file).name != state_file
        or not state_file.endswith(".safetensors")
    ):
        raise CheckpointError(f"{where}: expected state_file to name a safetensors file here, got {state_file!r:.80}")
    statistics: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in read_tensors(directory / state_file, MAX_STATISTICS_BYTES).items():
        feature, _, statistic = name.rpartition(".")
        statistics.setdefault(feature, {})[statistic] = value
    return statistics


def _only(steps: list[_Step], name: str) -> _Step:
    found = [step for step in steps if step.name == name]
    if len(found) != 1:
        where = steps[0].where.rpartition(":")[0] if steps else "processor pipeline"
        raise CheckpointError(f"{where}: expected exactly one '{name}' step, got {len(found)}")
    return found[0]


def _normalization(step: _Step, config: PolicyConfig) -> tuple[dict[FeatureType, NormalizationMode], float]:
    eps = step.options.get("eps", DEFAULT_EPS)
    if not isinstance(eps, float | int) or isinstance(eps, bool) or not 0 <= eps <= 1:
        raise CheckpointError(f"{step.where}: expected eps from 0 to 1, got {eps!r:.80}")
    try:
        mapping = normalization_mapping_from_json("norm_map", step.options.get("norm_map", {}))
        features = features_from_json("features", step.options.get("features", {}))
    except ConfigurationError as error:
        raise CheckpointError(f"{step.where}: {error}") from error
    wanted = {ACTION: config.output_features[ACTION]}
    if step.name == _NORMALIZER:
        wanted |= config.observed_features
    for key, spec in wanted.items():
        if features.get(key) != spec:
            raise CheckpointError(f"{step.where}: feature '{key}' is {spec} in config.json, here {features.get(key)}")
    return mapping, float(eps)


def _same_action_statistics(normalizer: _Step, unnormalizer: _Step) -> bool:
    first, second = normalizer.statistics.get(ACTION), unnormalizer.statistics.get(ACTION, {})
    if first is None:
        return True
    return all(torch.equal(first[name], second[name]) for name in first.keys() & second.keys())


def _rename_map(steps: list[_Step]) -> dict[str, str]:
    renaming = [step for step in steps if step.name == _RENAME]
    if not renaming:
        return {}
    step = _only(steps, _RENAME)
    if steps.index(step) > steps.index(_only(steps, _NORMALIZER)):
        raise CheckpointError(f"{step.where}: expected before '{_NORMALIZER}', which knows the new names only")
    renamed = step.options.get("rename_map", {})
    if not isinstance(renamed, dict) or not all(isinstance(text, str) for pair in renamed.items() for text in pair):
        raise CheckpointError(f"{step.where}: expected rename_map as {{key: key}}, got {renamed!r:.80}")
    return renamed


def _relative(before: list[_Step], after: list[_Step], config: PolicyConfig) -> RelativeActions | None:
    """What the pair of steps says that makes actions offsets from the state and absolute again."""
    there = [step for step in before if step.name == _RELATIVE and _enabled(step)]
    back = [step for step in after if step.name == _ABSOLUTE and _enabled(step)]
    if not there and not back:
        return None
    if len(there) != 1 or len(back) != 1:
        where = (there or back)[0].where
        raise CheckpointError(
            f"{where}: expected one '{_RELATIVE}' and one '{_ABSOLUTE}', got {len(there)}, {len(back)}"
        )
    step = there[0]
    if before.index(step) > before.index(_only(before, _NORMALIZER)):
        raise CheckpointError(f"{step.where}: expected before '{_NORMALIZER}': offsets are taken in robot units")
    if after.index(back[0]) < after.index(_only(after, _UNNORMALIZER)):
        raise CheckpointError(f"{back[0].where}: expected after '{_UNNORMALIZER}': offsets are in robot units")
    renaming = [index for index, other in enumerate(before) if other.name == _RENAME]
    if renaming and before.index(step) < renaming[0]:
        raise CheckpointError(f"{step.where}: expected after '{_RENAME}', which gives the state its name")
    if config.state_feature is None or config.state_feature.shape[0] < config.action_dim:
        got = "none" if config.state_feature is None else f"{config.state_feature.shape[0]} values"
        raise CheckpointError(
            f"{step.where}: expected '{OBSERVATION_STATE}' with a value for each of the {config.action_dim} actions, "
            f"which are offsets from it, got {got}"
        )
    names = step.options.get("action_names")
    return RelativeActions.excluding(
        _names(step, "exclude_joints", step.options.get("exclude_joints", [])),
        None if names is None else _names(step, "action_names", names),
        config.action_dim,
    )


def _enabled(step: _Step) -> bool:
    enabled = step.options.get("enabled", False)
    if not isinstance(enabled, bool):
        raise CheckpointError(f"{step.where}: expected enabled true or false, got {enabled!r:.80}")
    return enabled


def _names(step: _Step, option: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{step.where}: expected {option} as a list of names, got {value!r:.80}")
    return tuple(value)


def _relative_step(relative: RelativeActions | None) -> list[_WrittenStep]:
    if relative is None:
        return []
    names = None if relative.action_names is None else list(relative.action_names)
    options = {"enabled": True, "exclude_joints": list(relative.exclude_joints), "action_names": names}
    return [(_RELATIVE, options)]


def _write_pipeline(directory: Path, pipeline: str, steps: list[_WrittenStep], statistics: Statistics) -> None:
    written = []
    for index, (name, options) in enumerate(steps):
        step: dict[str, Any] = {"registry_name": name, "config": options}
        flat = {f"{key}.{stat}": value for key, values in statistics.items() for stat, value in values.items()}
        if name in (_NORMALIZER, _UNNORMALIZER) and flat:
            step["state_file"] = f"{pipeline}_step_{index}_{name}.safetensors"
            write_tensors(directory / step["state_file"], flat)
        written.append(step)
    write_json(directory / f"{pipeline}.json", {"name": pipeline, "steps": written})
