# SPDX-License-Identifier: Apache-2.0
"""The hyperbolic tangent of a Gaussian: actions within -1 and 1 (Haarnoja et al. 2018, arXiv:1801.01290, app. C)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from policy_ros.policies.sac.model import Gaussian

_EDGE = 1e-3  # no Gaussian gets nearer to -1 and 1 than this with any likelihood worth learning


def draw(gaussian: Gaussian, noise: Tensor) -> Tensor:
    """Actions ``(B, A)`` for standard normal ``noise`` ``(B, A)``; zeros give the middle of the distribution."""
    return torch.tanh(gaussian.mean + gaussian.deviation * noise)


def log_likelihood(gaussian: Gaussian, actions: Tensor) -> Tensor:
    """Of actions ``(B, A)``, ``(B,)``; those at the edges or beyond count as just inside."""
    free = torch.atanh(actions.clamp(-1.0 + _EDGE, 1.0 - _EDGE))
    standard = (free - gaussian.mean) / gaussian.deviation
    normal = -0.5 * standard.square() - gaussian.deviation.log() - 0.5 * math.log(2.0 * math.pi)
    # log(1 - tanh(x)^2), without cancellation
    squashing = 2.0 * (math.log(2.0) - free - F.softplus(-2.0 * free))
    return (normal - squashing).sum(-1)
