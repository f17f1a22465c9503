# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in LeRobot's layout: a directory with config.json, model.safetensors and two processor pipelines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from policy_ros.errors import CheckpointError, ConfigurationError, RegistryError
from policy_ros.policies.components.description import POLICY_FILE, is_component_policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.device import choose_device
from policy_ros.policies.files import (
    PICKLE_ADVICE,
    PICKLE_SUFFIXES,
    read_json,
    read_tensors,
    tensor_shapes,
    write_json,
    write_tensors,
)
from policy_ros.policies.legacy import is_statistic, legacy_statistics
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import DEFAULT_EPS, Normalization
from policy_ros.policies.processors import Processors, read_processors, write_processors
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.policies.tied import distinct_tensors, first_names, merged
from policy_ros.policies.weights import Weights, place

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy

PolicyT = TypeVar("PolicyT", bound="Policy")

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_NAMED_IN_MESSAGE = 3
# Batch-normalisation layers with fixed statistics have no use for the count.
_IGNORED_SUFFIX = ".num_batches_tracked"


def load_checkpoint(
    directory: str | os.PathLike[str], *, device: str | torch.device | None = None, shared: bool = False
) -> Policy:
    """The policy in a checkpoint directory, on ``device`` and in evaluation mode; one of components as well.

    Args:
        directory: in LeRobot's layout, or with a ``policy.yaml``, or that file.
        device: None takes the GPU where there is one.
        shared: for inference only, see :func:`policy_ros.policies.load_policy`.

    Raises:
        CheckpointError: a file is missing, corrupt or of an unsafe format, or does not fit the configuration.
        ConfigurationError: the device is not available, or a library that the policy runs on is not installed.
        RegistryError: the configuration's ``type`` is no registered policy.
    """
    target = choose_device(device)
    path = Path(directory)
    try:
        if is_component_policy(path):
            return _build(path, target, shared)
        cls, config = _read_config(checked_directory(path) / CONFIG_FILE)
        policy = cls.read_checkpoint(path, config, device, shared=shared).eval()
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be read: {error}") from error
    if shared:
        policy.freeze()
    return policy


def save_checkpoint(policy: Policy, directory: str | os.PathLike[str]) -> None:
    """Write a checkpoint directory that LeRobot 0.6.1 reads too."""
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    # Written last, so that an interrupted save cannot be taken for a whole checkpoint.
    (path / CONFIG_FILE).unlink(missing_ok=True)
    write_tensors(path / WEIGHTS_FILE, distinct_tensors(policy))
    write_description(policy, path)


def write_description(policy: Policy, path: Path) -> None:
    """Write all of a checkpoint but the network: the processors with their statistics, and the configuration."""
    normalization, mapping = policy.normalization, policy.config.normalization_mapping
    processors = Processors(mapping, normalization.eps, normalization.statistics(), policy.rename_map, policy.relative)
    write_processors(path, policy.config, processors, policy.device.type)
    write_json(path / CONFIG_FILE, {"type": policy.name, "device": policy.device.type, **policy.config.to_dict()})


def _build(path: Path, device: torch.device, shared: bool) -> Policy:
    from policy_ros.policies.components.building import build_policy

    if (path / CONFIG_FILE).exists():
        raise CheckpointError(f"{path}: holds both {CONFIG_FILE} and {POLICY_FILE}; remove the one that is wrong")
    return build_policy(path, device, shared=shared)


def read_weights(
    cls: type[PolicyT], path: Path, config: PolicyConfig, device: torch.device, *, shared: bool
) -> PolicyT:
    """A policy with the weights of ``model.safetensors``, on its device.

    Nothing of the network's size is allocated before the file is known to have exactly its tensors. Weights of lower
    precision are widened to float32.

    Raises:
        CheckpointError: as for :func:`load_checkpoint`.
    """
    require_weights(path)
    shapes = tensor_shapes(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    described = read_description(path, config, [name for name in shapes if is_statistic(name)])
    config, normalization = described.config, described.normalization
    with torch.device("meta"):
        skeleton = cls(config, normalization)
    first = first_names(skeleton)
    stored = {name: cls.weight_name(name) for name in shapes if not is_statistic(name)}
    weights = {name: first.get(own, own) for name, own in stored.items() if own is not None}
    found = {own: shapes[name] for name, own in weights.items()}
    check_fit(path / WEIGHTS_FILE, distinct_tensors(skeleton), found, cls.computed_buffers)

    policy = cls(config, normalization)
    described.apply(policy)
    # Not strict, because the check above was, and knows which names may be missing or left over.
    try:
        if shared:
            held = Weights.of(path / WEIGHTS_FILE, shared=True)
            tensors = merged(held.named(weights), weights)
            own = policy.state_dict()
            place(policy, {name: tensors[name] for name in tensors if name in own}, device, keep=[held])
        else:
            tensors = read_tensors(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES, weights)
            policy.load_state_dict(merged(tensors, weights), strict=False)
    except CheckpointError as error:
        raise CheckpointError(f"{path / WEIGHTS_FILE}: {error}") from error
    return policy.to(device)


@dataclass(frozen=True)
class Description:
    """What a checkpoint says beside its network.

    Attributes:
        path: the checkpoint.
        config: options, with the modes that the processors say.
        normalization: from and to the network's units.
        processors: all that they say.
    """

    path: Path
    config: PolicyConfig
    normalization: Normalization
    processors: Processors

    def apply(self, policy: Policy) -> None:
        """Give a policy what its constructor does not take."""
        policy.rename_map = dict(self.processors.rename_map)
        try:
            policy.relative = self.processors.relative
        except ConfigurationError as error:
            raise CheckpointError(f"{self.path}: {error}") from error


def read_description(path: Path, config: PolicyConfig, statistics: Sequence[str] = ()) -> Description:
    """Read a checkpoint's processors.

    Args:
        path: the checkpoint.
        config: of its ``config.json``.
        statistics: names of those among the weights, as older checkpoints have them.

    Raises:
        CheckpointError: they are missing where the configuration needs them, or do not fit it.
    """
    processors = _processors(path, config, statistics)
    config = dataclasses.replace(config, normalization_mapping=processors.mapping)
    return Description(path, config, _normalization(path, config, processors), processors)


def checked_directory(path: Path) -> Path:
    """The path, if it is a directory with the configuration of a checkpoint.

    Raises:
        CheckpointError: it is not, and what it is instead.
    """
    if path.is_file():
        advice = PICKLE_ADVICE if path.suffix in PICKLE_SUFFIXES else f"give the directory that holds {CONFIG_FILE}"
        raise CheckpointError(f"{path}: expected a checkpoint directory, got a file; {advice}")
    if not path.is_dir():
        raise CheckpointError(f"{path}: expected a checkpoint directory, found nothing")
    if not (path / CONFIG_FILE).exists():
        if not (path / WEIGHTS_FILE).exists():
            refuse_pickles(path)
        raise CheckpointError(f"{path}: expected a checkpoint directory with {CONFIG_FILE}, which is missing")
    return path


def require_weights(path: Path) -> None:
    """Refuse a checkpoint without ``model.safetensors``.

    Raises:
        CheckpointError: it is missing, and what is there in its place.
    """
    if not (path / WEIGHTS_FILE).exists():
        refuse_pickles(path)
        raise CheckpointError(f"{path}: expected a checkpoint directory with {WEIGHTS_FILE}, which is missing")


def check_weights(file: Path) -> None:
    """Refuse a file that is no safetensors, is truncated, or holds nothing; its tensors are not read.

    Raises:
        CheckpointError: what is wrong with it.
    """
    if not tensor_shapes(file, MAX_WEIGHTS_BYTES):
        raise CheckpointError(f"{file}: expected the tensors of a network, got none")


def refuse_pickles(path: Path) -> None:
    """Say what to do about weights of a format that is not read, if there are any.

    Raises:
        CheckpointError: there are.
    """
    found = sorted(entry.name for entry in path.iterdir())
    pickles = [name for name in found if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        raise CheckpointError(f"{path}: expected {WEIGHTS_FILE}, got {pickles[0]}; {PICKLE_ADVICE}")
    if f"{WEIGHTS_FILE}.index.json" in found:
        raise CheckpointError(f"{path}: expected one {WEIGHTS_FILE}, got sharded weights; save it in one file")


def _read_config(path: Path) -> tuple[type[Policy], PolicyConfig]:
    values = read_json(path)
    kind = values.get("type")
    if not isinstance(kind, str):
        names = ", ".join(POLICY_REGISTRY.names())
        raise CheckpointError(f"{path}: expected 'type' to name the policy, got {kind!r:.80}; available: {names}")
    try:
        cls = POLICY_REGISTRY.get(kind)
        if cls.from_components:
            raise CheckpointError(
                f"{path}: policy '{kind}' is put together from components: expected a {POLICY_FILE} instead"
            )
        return cls, cls.config_class.from_dict(values)
    except RegistryError as error:
        raise RegistryError(f"{path}: {error}") from error
    except ConfigurationError as error:
        raise CheckpointError(f"{path}: {error}") from error


def check_fit(
    path: Path,
    expected: Mapping[str, Tensor],
    found: Mapping[str, tuple[tuple[int, ...], bool]],
    computed: frozenset[str],
    described_in: str = CONFIG_FILE,
) -> None:
    """Compare names, shapes and kinds of the network's tensors with those of the file.

    Raises:
        CheckpointError: they differ.
    """
    problems = [
        f"missing '{name}' {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name not in found and name not in computed
    ]
    for name, (shape, floating) in found.items():
        tensor = expected.get(name)
        if tensor is None:
            if not name.endswith(_IGNORED_SUFFIX):
                problems.append(f"unexpected '{name}' {shape}")
        elif tuple(tensor.shape) != shape:
            problems.append(f"'{name}' expected {tuple(tensor.shape)}, got {shape}")
        elif tensor.is_floating_point() != floating:
            problems.append(f"'{name}' expected {tensor.dtype}, got another kind of number")
    if problems:
        shown = "; ".join(problems[:_NAMED_IN_MESSAGE])
        more = f"; and {len(problems) - _NAMED_IN_MESSAGE} more" if len(problems) > _NAMED_IN_MESSAGE else ""
        raise CheckpointError(f"{path} does not fit {described_in}: {shown}{more}")


def _processors(path: Path, config: PolicyConfig, statistics: Sequence[str]) -> Processors:
    """What the pipelines say, or the statistics among the weights (their names), whichever the checkpoint has."""
    processors = read_processors(path, config)
    if processors is not None and statistics:
        raise CheckpointError(
            f"{path}: statistics both in {WEIGHTS_FILE} and in processor files; remove the wrong ones"
        )
    if processors is not None:
        return processors
    mapping = config.normalization_mapping
    if not statistics and any(mode is not NormalizationMode.IDENTITY for mode in mapping.values()):
        raise CheckpointError(
            f"{path}: no normalisation statistics: expected policy_preprocessor.json and policy_postprocessor.json, "
            f"or the older layout's 'normalize_inputs.buffer_…' in {WEIGHTS_FILE}"
        )
    tensors = read_tensors(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES, statistics) if statistics else {}
    return Processors(mapping, DEFAULT_EPS, legacy_statistics(config, tensors), {})


def _normalization(path: Path, config: PolicyConfig, processors: Processors) -> Normalization:
    try:
        return Normalization(config, processors.statistics, processors.eps)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
