# SPDX-License-Identifier: Apache-2.0
"""The small image encoder of reinforcement learning: four strided convolutions (Yarats et al. 2021, arXiv:2107.09645).

Kernels and strides are LeRobot's.
"""

from __future__ import annotations

from torch import nn

from policy_ros.errors import ConfigurationError

_KERNELS = (7, 5, 3, 3)
_STRIDE = 2


def strided_convolutions(channels: int, width: int) -> nn.Sequential:
    """Images ``(B, channels, H, W)`` to feature maps ``(B, width, *feature_map_size(H, W))``."""
    layers: list[nn.Module] = []
    for kernel in _KERNELS:
        layers += [nn.Conv2d(channels, width, kernel, stride=_STRIDE), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def feature_map_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the feature map.

    Raises:
        ConfigurationError: the image is too small for it.
    """
    sides = [height, width]
    for kernel in _KERNELS:
        sides = [(side - kernel) // _STRIDE + 1 for side in sides]
    if min(sides) < 1:
        raise ConfigurationError(
            f"image of {height}x{width}: expected sides of at least {_smallest()} for four strided convolutions"
        )
    return sides[0], sides[1]


def _smallest() -> int:
    side = 1
    for kernel in reversed(_KERNELS):
        side = (side - 1) * _STRIDE + kernel
    return side
