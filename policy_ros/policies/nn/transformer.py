# SPDX-License-Identifier: Apache-2.0
"""Transformer layers whose positions are added to queries and keys at every layer, as in DETR (arXiv:2005.12872).

Sequences are ``(B, S, D)``. With ``pre_norm`` a layer normalises what goes into each sub-layer, otherwise what comes
out of the residual sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """Sizes and options that all layers of a transformer share."""

    dim: int
    heads: int
    feedforward: int
    dropout: float
    activation: str
    pre_norm: bool


def _attention(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None = None
) -> Tensor:
    # Asking for the weights chooses the unfused kernels. They round as those that checkpoints were trained and
    # measured with, to the last bit on the CPU, where they are as fast as the fused ones.
    attended: Tensor
    attended, _ = module(query, key, value, key_padding_mask=padding, need_weights=True, average_attn_weights=False)
    return attended


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.pre_norm = shape.pre_norm
        self.activation = ACTIVATIONS[shape.activation]
        self.self_attn = nn.MultiheadAttention(shape.dim, shape.heads, shape.dropout, batch_first=True)
        self.linear1 = nn.Linear(shape.dim, shape.feedforward)
        self.dropout = nn.Dropout(shape.dropout)
        self.linear2 = nn.Linear(shape.feedforward, shape.dim)
        self.norm1 = nn.LayerNorm(shape.dim)
        self.norm2 = nn.LayerNorm(shape.dim)
        self.dropout1 = nn.Dropout(shape.dropout)
        self.dropout2 = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor | None = None) -> Tensor:
        """``(B, S, D)`` to the same; ``positions`` ``(1, S, D)``, ``padding`` ``(B, S)`` true where to look away."""
        if self.pre_norm:
            x = x + self.dropout1(self._attend(self.norm1(x), positions, padding))
            x = x + self.dropout2(self._feed_forward(self.norm2(x)))
        else:
            x = self.norm1(x + self.dropout1(self._attend(x, positions, padding)))
            x = self.norm2(x + self.dropout2(self._feed_forward(x)))
        return x

    def _attend(self, x: Tensor, positions: Tensor, padding: Tensor | None) -> Tensor:
        at = x + positions
        return _attention(self.self_attn, at, at, x, padding)

    def _feed_forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return out


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to the encoder's memory, and a feed-forward network."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.pre_norm = shape.pre_norm
        self.activation = ACTIVATIONS[shape.activation]
        self.self_attn = nn.MultiheadAttention(shape.dim, shape.heads, shape.dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(shape.dim, shape.heads, shape.dropout, batch_first=True)
        self.linear1 = nn.Linear(shape.dim, shape.feedforward)
        self.dropout = nn.Dropout(shape.dropout)
        self.linear2 = nn.Linear(shape.feedforward, shape.dim)
        self.norm1 = nn.LayerNorm(shape.dim)
        self.norm2 = nn.LayerNorm(shape.dim)
        self.norm3 = nn.LayerNorm(shape.dim)
        self.dropout1 = nn.Dropout(shape.dropout)
        self.dropout2 = nn.Dropout(shape.dropout)
        self.dropout3 = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, memory: Tensor, positions: Tensor, memory_positions: Tensor) -> Tensor:
        """``(B, S, D)`` to the same; ``memory`` ``(B, M, D)``, positions ``(1, S, D)`` and ``(1, M, D)``."""
        if self.pre_norm:
            x = x + self.dropout1(self._attend(self.norm1(x), positions))
            x = x + self.dropout2(self._attend_memory(self.norm2(x), memory, positions, memory_positions))
            x = x + self.dropout3(self._feed_forward(self.norm3(x)))
        else:
            x = self.norm1(x + self.dropout1(self._attend(x, positions)))
            x = self.norm2(x + self.dropout2(self._attend_memory(x, memory, positions, memory_positions)))
            x = self.norm3(x + self.dropout3(self._feed_forward(x)))
        return x

    def _attend(self, x: Tensor, positions: Tensor) -> Tensor:
        at = x + positions
        return _attention(self.self_attn, at, at, x)

    def _attend_memory(self, x: Tensor, memory: Tensor, positions: Tensor, memory_positions: Tensor) -> Tensor:
        return _attention(self.multihead_attn, x + positions, memory + memory_positions, memory)

    def _feed_forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return out


class Encoder(nn.Module):
    """A stack of encoder layers; pre-norm stacks end in a normalisation, since their residual stream has none."""

    def __init__(self, shape: LayerShape, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(shape) for _ in range(depth)])
        self.norm = nn.LayerNorm(shape.dim) if shape.pre_norm else nn.Identity()

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor | None = None) -> Tensor:
        """``(B, S, D)`` to the same."""
        for layer in self.layers:
            x = layer(x, positions, padding)
        out: Tensor = self.norm(x)
        return out


class Decoder(nn.Module):
    """A stack of decoder layers with a closing normalisation."""

    def __init__(self, shape: LayerShape, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(shape) for _ in range(depth)])
        self.norm = nn.LayerNorm(shape.dim)

    def forward(self, x: Tensor, memory: Tensor, positions: Tensor, memory_positions: Tensor) -> Tensor:
        """``(B, S, D)`` to the same."""
        for layer in self.layers:
            x = layer(x, memory, positions, memory_positions)
        out: Tensor = self.norm(x)
        return out
