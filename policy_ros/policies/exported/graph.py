# SPDX-License-Identifier: Apache-2.0
"""A graph that another library runs: what it takes, what it gives, and which library that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from policy_ros.errors import CheckpointError
from policy_ros.policies.inputs import Array
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: as the graph has it.
        shape: its sizes, None for an axis that is dynamic.
        dtype: of its elements; None for what numpy has no name for.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic] | None

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"'{self.name}' ({sizes}) {self.dtype or 'of an unknown type'}"


class Graph(Protocol):
    """A graph that has been read and can be run."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    device: torch.device

    def run(self, inputs: Mapping[str, Array], output: str) -> Array:
        """One output, for all inputs by name."""


def open_graph(path: Path, device: str | torch.device | None) -> Graph:
    """The graph in a file, ready to run.

    Args:
        path: ``.onnx`` or ``.xml``.
        device: where to run it; None for the best that the library that runs it can use.

    Raises:
        CheckpointError: missing, too large, or not such a graph.
        ConfigurationError: the library is not installed, or cannot use the device.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: expected an exported model, found nothing")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise CheckpointError(f"{path}: expected at most {MAX_WEIGHTS_BYTES} bytes, got {path.stat().st_size}")
    if path.suffix == ".onnx":
        from policy_ros.policies.exported.onnx_graph import OnnxGraph

        return OnnxGraph(path, device)
    from policy_ros.policies.exported.openvino_graph import OpenVinoGraph

    return OpenVinoGraph(path, device)
