# SPDX-License-Identifier: Apache-2.0
"""What a policy is guided toward, in the network's own units."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from policy_ros.rtc import GuidanceOptions


@dataclass(frozen=True)
class Target:
    """The chunk to continue; see :mod:`policy_ros.rtc`.

    Attributes:
        prefix: ``(N, A)`` normalised rows, aligned with row 0 of the new chunk, N <= H.
        weights: ``(H,)`` how firmly each row is tied to it; 0 for rows that the prefix does not have.
        options: largest weight and Jacobian.
    """

    prefix: Tensor
    weights: Tensor
    options: GuidanceOptions
