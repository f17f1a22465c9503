# SPDX-License-Identifier: Apache-2.0
"""Components that work on sequences of vectors: transformers, with sines and cosines for positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from policy_ros.errors import ConfigurationError
from policy_ros.policies.components.component import Component, ComponentOptions
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.nn.position import sinusoidal_positions
from policy_ros.policies.nn.transformer import Decoder, Encoder, LayerShape


@dataclass(frozen=True, kw_only=True)
class TransformerOptions(ComponentOptions):
    """Of :class:`TransformerEncoder` and :class:`TransformerDecoder`.

    Attributes:
        dim: values per token, even (sines and cosines) and a multiple of ``heads``.
        layers: how many.
        heads: of attention.
        feedforward: width between the two linear layers of a layer; four times ``dim`` by default.
        pre_norm: normalise before instead of after each sub-layer.
    """

    dim: int
    layers: int
    heads: int = 8
    feedforward: int | None = None
    activation: Literal["relu", "gelu"] = "gelu"
    dropout: float = 0.0
    pre_norm: bool = True

    def __post_init__(self) -> None:
        check_range("dim", self.dim, 2, MAX_WIDTH)
        check_range("heads", self.heads, 1, MAX_WIDTH)
        check_range("layers", self.layers, 1, MAX_LAYERS)
        check_range("feedforward", self.layer_shape.feedforward, 1, 4 * MAX_WIDTH)
        check_range("dropout", self.dropout, 0.0, 1.0)
        if self.dim % 2 or self.dim % self.heads:
            raise ConfigurationError(f"dim: expected an even multiple of heads={self.heads}, got {self.dim}")

    @property
    def layer_shape(self) -> LayerShape:
        """Of each layer."""
        return LayerShape(
            dim=self.dim,
            heads=self.heads,
            feedforward=4 * self.dim if self.feedforward is None else self.feedforward,
            dropout=self.dropout,
            activation=self.activation,
            pre_norm=self.pre_norm,
        )


class TransformerEncoder(Component):
    """Tokens ``(B, S, dim)`` to as many that know of each other."""

    name = "transformer_encoder"
    options_class: ClassVar[type[ComponentOptions]] = TransformerOptions

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__(options)
        self.encoder = Encoder(options.layer_shape, options.layers)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """``(B, S, dim)`` to the same; ``padding`` ``(B, S)`` is true where to look away."""
        encoded: Tensor = self.encoder(tokens, _positions(tokens), padding)
        return encoded


class TransformerDecoder(Component):
    """Queries ``(B, H, dim)`` to answers ``(B, H, dim)`` from a memory ``(B, S, dim)``."""

    name = "transformer_decoder"
    options_class: ClassVar[type[ComponentOptions]] = TransformerOptions

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__(options)
        self.decoder = Decoder(options.layer_shape, options.layers)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """``(B, H, dim)`` and ``(B, S, dim)`` to ``(B, H, dim)``."""
        decoded: Tensor = self.decoder(queries, memory, _positions(queries), _positions(memory))
        return decoded


def _positions(tokens: Tensor) -> Tensor:
    return sinusoidal_positions(tokens.shape[1], tokens.shape[2]).to(tokens).unsqueeze(0)
