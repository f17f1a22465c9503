# SPDX-License-Identifier: Apache-2.0
"""Where a policy runs."""

from __future__ import annotations

import torch

from policy_ros.errors import ConfigurationError


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; None takes the GPU where there is one and the CPU otherwise.

    The device that a checkpoint names is that of its training and plays no part.

    Raises:
        ConfigurationError: no such device here. A named device is never replaced by another.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigurationError(f"device: expected cpu, cuda or cuda:<index>, got {str(device)!r}") from None
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise ConfigurationError(f"device: expected one of cpu and {count} CUDA devices, got {str(chosen)!r}")
    elif chosen.type != "cpu":
        raise ConfigurationError(f"device: expected cpu, cuda or cuda:<index>, got {str(chosen)!r}")
    return chosen
