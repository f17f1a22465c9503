# SPDX-License-Identifier: Apache-2.0
"""The older layout of LeRobot, in which normalisation statistics are tensors among the weights.

They are named ``<where>.buffer_<feature>.<statistic>`` with the feature's dots written as underscores. That cannot be
undone from the name alone (``observation_images_cam_left_wrist``), so names are looked up from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from policy_ros.errors import CheckpointError, closest
from policy_ros.policies.config import PolicyConfig

_PREFIXES = ("normalize_inputs.buffer_", "normalize_targets.buffer_", "unnormalize_outputs.buffer_")


def is_statistic(name: str) -> bool:
    """Whether a tensor of ``model.safetensors`` is a statistic of the older layout."""
    return name.startswith(_PREFIXES)


def legacy_statistics(config: PolicyConfig, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Feature key to its statistics.

    Raises:
        CheckpointError: a name fits no feature or several, or the targets' and the outputs' statistics differ.
    """
    features = _by_underscored([*config.input_features, *config.output_features])
    statistics: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        prefix = next(p for p in _PREFIXES if name.startswith(p))
        underscored, _, statistic = name.removeprefix(prefix).rpartition(".")
        if underscored not in features:
            raise CheckpointError(
                f"model.safetensors: '{name}' fits no feature of config.json; {closest(underscored, features)}"
            )
        known = statistics.setdefault(features[underscored], {})
        if statistic in known and not torch.equal(known[statistic], value):
            raise CheckpointError(f"model.safetensors: '{name}' differs from the same statistic under another prefix")
        known[statistic] = value
    return statistics


def _by_underscored(keys: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        underscored = key.replace(".", "_")
        if underscored in found:
            raise CheckpointError(
                f"config.json: '{found[underscored]}' and '{key}' share the statistics '{underscored}'"
            )
        found[underscored] = key
    return found
