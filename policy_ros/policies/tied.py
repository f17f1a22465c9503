# SPDX-License-Identifier: Apache-2.0
"""Networks whose parts share tensors: one tensor, several names.

Safetensors files hold each tensor once. LeRobot writes the name that sorts first and reads any of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from policy_ros.errors import CheckpointError


def first_names(network: nn.Module) -> dict[str, str]:
    """Every name in the network's ``state_dict`` to the first name, in sorted order, of the tensor it stands for."""
    first: dict[int, str] = {}
    tensors = network.state_dict(keep_vars=True)
    for name in sorted(tensors):
        first.setdefault(id(tensors[name]), name)
    return {name: first[id(tensor)] for name, tensor in tensors.items()}


def distinct_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's ``state_dict`` with each tensor once, under its first name."""
    tensors = network.state_dict()
    return {name: tensors[name] for name, first in first_names(network).items() if name == first}


def merged(tensors: Mapping[str, Tensor], first: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under their first names; names that ``first`` does not list stay.

    Raises:
        CheckpointError: a tensor is there under two names with different values.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        known = result.setdefault(first.get(name, name), tensor)
        if known is not tensor and not torch.equal(known, tensor):
            raise CheckpointError(f"'{name}' and '{first[name]}': expected equal values, since the network shares them")
    return result
