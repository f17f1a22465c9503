# SPDX-License-Identifier: Apache-2.0
"""A causal transformer over given tokens (Radford et al. 2019, GPT-2).

Parameter names are those of nanoGPT, which LeRobot's VQ-BeT has kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_INITIAL_DEVIATION = 0.02
_WIDENING = 4  # of the feed-forward network


@dataclass(frozen=True, kw_only=True)
class GPTShape:
    """Sizes of a GPT.

    Attributes:
        max_tokens: longest sequence.
        dim_in: of the tokens.
        dim: between the layers.
        dim_out: of the answers.
    """

    max_tokens: int
    dim_in: int
    dim: int
    dim_out: int
    layers: int
    heads: int
    dropout: float


class CausalSelfAttention(nn.Module):
    """Each token attends to itself and to those before it."""

    bias: Tensor

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.c_attn = nn.Linear(shape.dim, 3 * shape.dim)
        self.c_proj = nn.Linear(shape.dim, shape.dim)
        self.attn_dropout = nn.Dropout(shape.dropout)
        self.resid_dropout = nn.Dropout(shape.dropout)
        # Not a bias but the mask; the name is the checkpoints'.
        mask = torch.tril(torch.ones(shape.max_tokens, shape.max_tokens))
        self.register_buffer("bias", mask.view(1, 1, shape.max_tokens, shape.max_tokens))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, D)`` to the same."""
        tokens, dim = x.shape[1:]
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).split(dim, dim=2))
        # Spelt out: the fused kernels draw dropout elsewhere and round otherwise than those that checkpoints come from.
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.shape[-1]))  # (B, heads, S, S)
        scores = scores.masked_fill(self.bias[:, :, :tokens, :tokens] == 0, float("-inf"))
        attended = self.attn_dropout(scores.softmax(dim=-1)) @ v
        out: Tensor = self.resid_dropout(self.c_proj(attended.transpose(1, 2).flatten(2)))
        return out


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a normalisation."""

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.dim)
        self.attn = CausalSelfAttention(shape)
        self.ln_2 = nn.LayerNorm(shape.dim)
        self.mlp = nn.Sequential(
            nn.Linear(shape.dim, _WIDENING * shape.dim),
            nn.GELU(),
            nn.Linear(_WIDENING * shape.dim, shape.dim),
            nn.Dropout(shape.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, D)`` to the same."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class GPT(nn.Module):
    """Tokens to what follows from them and from those before them.

    Args:
        shape: sizes.
    """

    def __init__(self, shape: GPTShape) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Linear(shape.dim_in, shape.dim),
                "wpe": nn.Embedding(shape.max_tokens, shape.dim),
                "drop": nn.Dropout(shape.dropout),
                "h": nn.ModuleList([Block(shape) for _ in range(shape.layers)]),
                "ln_f": nn.LayerNorm(shape.dim),
            }
        )
        self.lm_head = nn.Linear(shape.dim, shape.dim_out, bias=False)
        self._initialise(shape.layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, S, dim_in)`` to ``(B, S, dim_out)``."""
        positions = self.transformer["wpe"](torch.arange(tokens.shape[1], device=tokens.device))
        x = self.transformer["drop"](self.transformer["wte"](tokens) + positions)
        for block in self.transformer["h"].children():
            x = block(x)
        out: Tensor = self.lm_head(self.transformer["ln_f"](x))
        return out

    def _initialise(self, layers: int) -> None:
        """As GPT-2: what adds to the residual stream starts the smaller the more layers add to it."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                small = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=_INITIAL_DEVIATION / (math.sqrt(2 * layers) if small else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
