# SPDX-License-Identifier: Apache-2.0
"""What a policy is guided toward, in the network's own units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.errors import ConfigurationError
from policy_ros.rtc import GuidanceOptions


@dataclass(frozen=True)
class Target:
    """The chunk to continue; see :mod:`policy_ros.rtc`.

    Attributes:
        prefix: ``(B, N, A)`` normalised rows, aligned with row 0 of the new chunk, N <= H.
        weights: ``(H,)`` how firmly each row is tied to it; 0 for rows that the prefix does not have.
        options: largest weight and Jacobian.
    """

    prefix: Tensor
    weights: Tensor
    options: GuidanceOptions


def check_prefix(prefix: NDArray[Any], weights: NDArray[np.float64], action_dim: int) -> None:
    """Refuse rows that cannot be continued.

    Args:
        prefix: ``(N, A)`` rows in robot units.
        weights: ``(H,)`` how firmly each row of the new chunk is tied to them.
        action_dim: A.

    Raises:
        ConfigurationError: another shape, more rows than the chunk has, or a row that counts is not finite.
    """
    shape = prefix.shape
    if len(shape) != 2 or shape[0] > len(weights) or shape[1] != action_dim:
        raise ConfigurationError(f"prefix: expected (N, {action_dim}) with N up to {len(weights)} rows, got {shape}")
    counting = prefix[weights[: len(prefix)] > 0.0]
    if not np.isfinite(counting).all():
        raise ConfigurationError("prefix: expected finite rows where their weight is not 0, got values that are not")
