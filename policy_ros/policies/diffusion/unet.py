# SPDX-License-Identifier: Apache-2.0
"""A U-Net over time whose layers are modulated by a condition (Janner et al. 2022, arXiv:2205.09991; FiLM: Perez et
al. 2018, arXiv:1709.07871).

    rows (B, A, H) ─► down ─► down ─► middle ─► up ─► up ─► 1x1 conv ─► (B, A, H)
                        └────────── skip ───────┘
    timestep, observation ─► condition (B, C), seen by every block

Parameter names are those of LeRobot's diffusion policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

FINAL_GROUPS = 8  # of the last normalisation, whatever the others have

_LONGEST_WAVE = 10000.0


@dataclass(frozen=True, kw_only=True)
class UnetShape:
    """Sizes of the U-Net.

    Attributes:
        rows: A, values in a row.
        condition: values that describe the observation.
        widths: channels of each stage; every further one halves the number of rows.
        kernel: rows that a convolution sees, odd.
        groups: of the normalisations.
        timestep: width of the encoded timestep, even and at least 4.
        scales: whether the condition scales channels, beside shifting them.
        recompute: whether training keeps no activations inside of blocks and computes them again instead.
    """

    rows: int
    condition: int
    widths: tuple[int, ...]
    kernel: int
    groups: int
    timestep: int
    scales: bool
    recompute: bool


class Unet(nn.Module):
    """What is noise, or what is clean, in noisy rows.

    Args:
        shape: sizes.
    """

    def __init__(self, shape: UnetShape) -> None:
        super().__init__()
        self._recompute = shape.recompute
        width = shape.timestep
        self.diffusion_step_encoder = nn.Sequential(
            TimestepEncoding(width), nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width)
        )
        widths = shape.widths
        self.down_modules = nn.ModuleList()
        for index, (before, after) in enumerate(zip((shape.rows, *widths), widths, strict=False)):
            halve = nn.Conv1d(after, after, kernel_size=3, stride=2, padding=1)
            last = index == len(widths) - 1
            self.down_modules.append(_stage(before, after, shape, nn.Identity() if last else halve))
        middle = widths[-1]
        self.mid_modules = nn.ModuleList(ConditionedBlock(middle, middle, shape) for _ in range(2))
        self.up_modules = nn.ModuleList()
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            double = nn.ConvTranspose1d(after, after, kernel_size=4, stride=2, padding=1)
            self.up_modules.append(_stage(2 * before, after, shape, double))  # twice: the skip joins
        self.final_conv = nn.Sequential(
            ConvBlock(widths[0], widths[0], shape.kernel, FINAL_GROUPS),
            nn.Conv1d(widths[0], shape.rows, kernel_size=1),
        )

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """``(B, H, A)``.

        Args:
            noisy: ``(B, H, A)``.
            timestep: ``(B,)`` int64, 0 for the least noise.
            condition: ``(B, C)`` of the observation.
        """
        condition = torch.cat((self.diffusion_step_encoder(timestep.to(noisy.dtype)), condition), dim=-1)
        x, skips = noisy.transpose(1, 2), []
        for stage in self.down_modules:
            *blocks, halve = stage.children()
            x = self._through(blocks, x, condition)
            skips.append(x)
            x = halve(x)
        x = self._through(self.mid_modules, x, condition)
        for stage in self.up_modules:
            *blocks, double = stage.children()
            x = double(self._through(blocks, torch.cat((x, skips.pop()), dim=1), condition))
        out: Tensor = self.final_conv(x).transpose(1, 2)
        return out

    def _through(self, blocks: Iterable[nn.Module], x: Tensor, condition: Tensor) -> Tensor:
        for block in blocks:
            if self._recompute and self.training:
                x = checkpoint(block, x, condition, use_reentrant=False)
            else:
                x = block(x, condition)
        return x


class ConditionedBlock(nn.Module):
    """Two convolutions around a skip connection; between them the condition modulates channels.

    Args:
        channels: of the input.
        out_channels: of the output.
        shape: the other sizes.
    """

    def __init__(self, channels: int, out_channels: int, shape: UnetShape) -> None:
        super().__init__()
        self._scales = shape.scales
        self.conv1 = ConvBlock(channels, out_channels, shape.kernel, shape.groups)
        modulation = out_channels * (2 if shape.scales else 1)
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(shape.timestep + shape.condition, modulation))
        self.conv2 = ConvBlock(out_channels, out_channels, shape.kernel, shape.groups)
        same = channels == out_channels
        self.residual_conv = nn.Identity() if same else nn.Conv1d(channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(B, channels, H)`` and ``(B, C)`` to ``(B, out_channels, H)``."""
        modulation = self.cond_encoder(condition).unsqueeze(-1)
        between = self.conv1(x)
        if self._scales:
            scale, shift = modulation.chunk(2, dim=1)
            between = scale * between + shift
        else:
            between = between + modulation
        out: Tensor = self.conv2(between) + self.residual_conv(x)
        return out


class ConvBlock(nn.Module):
    """Convolution, group normalisation, Mish; keeps the length.

    Args:
        channels: of the input.
        out_channels: of the output.
        kernel: odd.
        groups: of the normalisation; they divide ``out_channels``.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(channels, out_channels, kernel, padding=kernel // 2),
            nn.GroupNorm(groups, out_channels),
            nn.Mish(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H)`` to ``(B, out_channels, H)``."""
        out: Tensor = self.block(x)
        return out


class TimestepEncoding(nn.Module):
    """Sines and cosines of a number, wavelengths spread geometrically.

    Args:
        dim: of the encoding, even and at least 4.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._half = dim // 2

    def forward(self, at: Tensor) -> Tensor:
        """``(B,)`` to ``(B, dim)``, sines first."""
        index = torch.arange(self._half, device=at.device, dtype=at.dtype)
        angle = at[:, None] * torch.exp(index * (-math.log(_LONGEST_WAVE) / (self._half - 1)))
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


def _stage(before: int, after: int, shape: UnetShape, resample: nn.Module) -> nn.ModuleList:
    return nn.ModuleList([ConditionedBlock(before, after, shape), ConditionedBlock(after, after, shape), resample])
