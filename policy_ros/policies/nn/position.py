# SPDX-License-Identifier: Apache-2.0
"""Sinusoidal position encodings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000.0


def sinusoidal_positions(length: int, dim: int) -> Tensor:
    """Encodings of positions 0 to ``length - 1``, ``(length, dim)`` float32 (Vaswani et al. 2017, arXiv:1706.03762).

    Even columns are sines, odd ones cosines. Computed in double precision, since positions can be in the hundreds.
    """
    column = torch.arange(dim)
    rate = _TEMPERATURE ** (2 * (column // 2) / dim).double()
    angle = torch.arange(length).double()[:, None] / rate  # (length, dim)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def sinusoidal_positions_2d(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """Encodings of the cells of a feature map, ``(dim, height, width)`` float32 (DETR, Carion et al. 2020).

    The first half of the channels encodes the row, the second the column. Cells count from 1 and are scaled so that
    the last lies at 2 pi, which makes maps of different sizes comparable.
    """
    half = dim // 2
    channel = torch.arange(half, dtype=torch.float32, device=device)
    rate = _TEMPERATURE ** (2 * (channel // 2) / half)

    def encode(cells: int) -> Tensor:
        position = torch.arange(1, cells + 1, dtype=torch.float32, device=device)
        angle = (position / (cells + 1e-6) * (2 * math.pi))[:, None] / rate  # (cells, half)
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)

    rows = encode(height).T[:, :, None].expand(half, height, width)
    columns = encode(width).T[:, None, :].expand(half, height, width)
    return torch.cat((rows, columns))
