# SPDX-License-Identifier: Apache-2.0
"""What a conversion made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from policy_ros.conversion.directories import write_directory
from policy_ros.conversion.torch_files import check_finite
from policy_ros.policies.base import Policy
from policy_ros.policies.checkpoint import check_fit, load_checkpoint
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.normalization import Normalization

PolicyT = TypeVar("PolicyT", bound=Policy)


@dataclass(frozen=True)
class Conversion:
    """A checkpoint that was written.

    Attributes:
        out: its directory.
        policy: name of the policy.
        tensors: how many.
        features: feature key to shape.
        notes: what the reader should know: what was left out, and why nothing is lost by it.
    """

    out: Path
    policy: str
    tensors: int
    features: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make(
    cls: type[PolicyT], config: PolicyConfig, normalization: Normalization, tensors: Mapping[str, Tensor], source: Path
) -> PolicyT:
    """A policy with the tensors of an original, which must be exactly its own.

    Nothing of the network's size is allocated before that is known: a few bytes can describe a huge one.

    Raises:
        CheckpointError: names or shapes differ, so that it is another variant of the network, or a value is not finite.
    """
    found = {name: (tuple(value.shape), value.is_floating_point()) for name, value in tensors.items()}
    with torch.device("meta"):
        expected = cls(config, normalization).state_dict()
    check_fit(source, expected, found, cls.computed_buffers, described_in=f"the network of '{cls.name}'")
    check_finite(source, tensors)
    policy = cls(config, normalization)
    policy.load_state_dict(dict(tensors), strict=False)
    return policy


def write(policy: Policy, out: Path, notes: tuple[str, ...], *, overwrite: bool) -> Conversion:
    """Write a policy's checkpoint whole or not at all; it has been loaded once before it gets its name."""

    def save(directory: Path) -> None:
        policy.save_pretrained(directory)
        load_checkpoint(directory, device="cpu")

    write_directory(out, save, overwrite=overwrite)
    config = policy.config
    features = {key: spec.shape for key, spec in {**config.observed_features, **config.output_features}.items()}
    return Conversion(out, policy.name, len(policy.state_dict()), features, notes)
