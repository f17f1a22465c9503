# SPDX-License-Identifier: Apache-2.0
"""Options of an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import ClassVar

from policy_ros.errors import ConfigurationError, closest
from policy_ros.policies.config import PolicyConfig

MODEL_SUFFIXES = (".onnx", ".xml")


@dataclass(frozen=True, kw_only=True)
class ExportedConfig(PolicyConfig):
    """Options of an exported model; there are no weights in ``model.safetensors``, they are in the graph.

    Attributes:
        chunk_size: H, rows that one run of the graph returns.
        model: file in the checkpoint directory: ``.onnx``, or ``.xml`` of OpenVINO with its ``.bin`` beside it.
        inputs: feature key to the name of the graph's input that takes it; a key that is not listed names its input.
        output: name of the graph's output that is the chunk; empty where there is but one.
    """

    unmet_in_recordings: ClassVar[str] = "the network that the graph was exported from"  # its weights cannot change

    chunk_size: int = 100
    model: str = "model.onnx"
    inputs: Mapping[str, str] = field(default_factory=dict)
    output: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if PurePath(self.model).name != self.model or not self.model.endswith(MODEL_SUFFIXES):
            raise ConfigurationError(
                f"model: expected the name of a file in the checkpoint that ends in {' or '.join(MODEL_SUFFIXES)}, "
                f"got {self.model!r:.80}"
            )
        for key in self.inputs:
            if key not in self.observed_features:
                raise ConfigurationError(f"inputs: {key!r:.80} is no feature: {closest(key, self.observed_features)}")
        names = list(self.graph_inputs.values())
        if len(set(names)) != len(names):
            raise ConfigurationError(f"inputs: expected one feature for each input of the graph, got {names}")

    @property
    def graph_inputs(self) -> dict[str, str]:
        """Feature key to the graph's input, for all features that an observation brings."""
        return {key: self.inputs.get(key, key) for key in self.observed_features}
