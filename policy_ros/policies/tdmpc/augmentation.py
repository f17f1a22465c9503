# SPDX-License-Identifier: Apache-2.0
"""Random shifts of images (Yarats et al. 2021, arXiv:2107.09645), so that a small encoder generalises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shifted(images: Tensor, ratio: float) -> Tensor:
    """Square images ``(N, C, S, S)``, each moved at random by up to ``ratio`` of its side.

    What comes in at the edges repeats them. Whole pixels are drawn, from torch's global generator; as in DrQ-v2 and
    LeRobot the grid is one of bilinear sampling.
    """
    side = images.shape[-1]
    pad = round(ratio * side)
    padded_side = side + 2 * pad
    padded = F.pad(images, (pad,) * 4, "replicate")
    half = 1.0 / padded_side
    axis = torch.linspace(-1.0 + half, 1.0 - half, padded_side, device=images.device)[:side]
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)
    shape = (len(images), 1, 1, 2)
    shift = torch.randint(0, 2 * pad + 1, shape, device=images.device, dtype=torch.float32)
    return F.grid_sample(padded, grid + shift * (2.0 / padded_side), padding_mode="zeros", align_corners=False)
