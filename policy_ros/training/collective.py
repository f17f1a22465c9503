# SPDX-License-Identifier: Apache-2.0
"""What the processes of several devices tell each other."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed

T = TypeVar("T")


def gather(value: T) -> list[T]:
    """The values of all devices, by rank; every process has to ask at the same time."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, value)
    return everyone
