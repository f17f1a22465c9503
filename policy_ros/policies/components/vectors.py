# SPDX-License-Identifier: Apache-2.0
"""Components that work on vectors: a multilayer perceptron, and a table of learned ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from policy_ros.policies.components.component import Component, ComponentOptions
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}
_MAX_OUTPUTS = 2**20  # a whole chunk can be one output
_MAX_ROWS = 2**20


@dataclass(frozen=True, kw_only=True)
class MLPOptions(ComponentOptions):
    """Of :class:`MLP`.

    Attributes:
        input_dim, output_dim: values in and out.
        hidden_dims: widths between them; empty for one linear layer.
        activation: after each layer but the last.
        layer_norm: normalise before each activation.
        dropout: after each activation.
    """

    input_dim: int
    output_dim: int
    hidden_dims: tuple[int, ...] = (256, 256)
    activation: Literal["relu", "gelu", "silu", "mish", "tanh"] = "relu"
    layer_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("input_dim", self.input_dim, 1, _MAX_OUTPUTS)
        check_range("output_dim", self.output_dim, 1, _MAX_OUTPUTS)
        check_range("number of hidden_dims", len(self.hidden_dims), 0, MAX_LAYERS)
        for width in self.hidden_dims:
            check_range("hidden_dims", width, 1, MAX_WIDTH)
        check_range("dropout", self.dropout, 0.0, 1.0)


class MLP(Component):
    """``(…, input_dim)`` to ``(…, output_dim)``."""

    name = "mlp"
    options_class: ClassVar[type[ComponentOptions]] = MLPOptions

    def __init__(self, options: MLPOptions) -> None:
        super().__init__(options)
        layers: list[nn.Module] = []
        width = options.input_dim
        for hidden in options.hidden_dims:
            layers.append(nn.Linear(width, hidden))
            if options.layer_norm:
                layers.append(nn.LayerNorm(hidden))
            layers.append(_ACTIVATIONS[options.activation]())
            if options.dropout:
                layers.append(nn.Dropout(options.dropout))
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, options.output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(…, input_dim)`` to ``(…, output_dim)``."""
        out: Tensor = self.layers(x)
        return out


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(ComponentOptions):
    """Of :class:`Embedding`: ``rows`` vectors of ``dim`` values; 257 rows hold the bytes of a prompt."""

    rows: int
    dim: int

    def __post_init__(self) -> None:
        check_range("rows", self.rows, 1, _MAX_ROWS)
        check_range("dim", self.dim, 1, MAX_WIDTH)


class Embedding(Component):
    """Whole numbers ``(…)`` to learned vectors ``(…, dim)``; without numbers all of them, ``(rows, dim)``."""

    name = "embedding"
    options_class: ClassVar[type[ComponentOptions]] = EmbeddingOptions

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__(options)
        self.table = nn.Embedding(options.rows, options.dim)

    def forward(self, index: Tensor | None = None) -> Tensor:
        """``(…)`` int64 to ``(…, dim)``, None to ``(rows, dim)``."""
        vectors: Tensor = self.table.weight if index is None else self.table(index)
        return vectors
