# SPDX-License-Identifier: Apache-2.0
"""Whether a graph is the one that its configuration speaks of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_ros.data import FeatureSpec
from policy_ros.errors import CheckpointError
from policy_ros.policies.exported.config import ExportedConfig
from policy_ros.policies.exported.graph import Graph, Port


def check_fit(config: ExportedConfig, graph: Graph) -> None:
    """Compare names, shapes and types of the graph's inputs and of its chunk with the features.

    The first axis, the batch, may be dynamic or one; all others of an input are fixed.

    Raises:
        CheckpointError: they do not fit; the message names the input and both shapes.
    """
    inputs = {port.name: port for port in graph.inputs}
    wanted = config.graph_inputs
    listed = "; ".join(map(str, graph.inputs)) or "none"
    unknown = [f"'{key}' to '{name}'" for key, name in wanted.items() if name not in inputs]
    if unknown:
        raise CheckpointError(
            f"{config.model}: the graph has no input for {', '.join(unknown)}; its inputs are {listed}; "
            'name them in config.json: "inputs": {feature: input}'
        )
    unfed = sorted(inputs.keys() - set(wanted.values()))
    if unfed:
        raise CheckpointError(
            f"{config.model}: expected every input of the graph to take a feature, got none for {', '.join(unfed)}; "
            "noise and constants belong into the graph"
        )
    for key, name in wanted.items():
        _check_input(config, key, config.observed_features[key], inputs[name])
    _check_chunk(config, chunk_port(config, graph))


def chunk_port(config: ExportedConfig, graph: Graph) -> Port:
    """The graph's output that is the chunk.

    Raises:
        CheckpointError: there is none of that name, or several and none is named.
    """
    listed = "; ".join(map(str, graph.outputs)) or "none"
    found = [port for port in graph.outputs if config.output in ("", port.name)]
    if len(found) != 1:
        wanted = f"an output '{config.output}'" if config.output else 'one output, or its name as "output"'
        raise CheckpointError(f"{config.model}: expected {wanted}, got {listed}")
    return found[0]


def _check_input(config: ExportedConfig, key: str, spec: FeatureSpec, port: Port) -> None:
    time = () if config.n_obs_steps == 1 else (config.n_obs_steps,)
    sizes = (*time, *spec.shape)
    _check_floating(config, port)
    if None in port.shape[1:]:
        axes = ", ".join(str(axis) for axis, size in enumerate(port.shape) if axis and size is None)
        raise CheckpointError(
            f"{config.model}: input {port} for '{key}' is dynamic in axis {axes}; "
            f"export it with the fixed shape {_shape(sizes)}: only the first axis may be dynamic"
        )
    if port.shape[:1] not in ((None,), (1,)) or port.shape[1:] != sizes:
        raise CheckpointError(f"{config.model}: '{key}' expected an input {_shape(sizes)}, got {port}")


def _check_chunk(config: ExportedConfig, port: Port) -> None:
    sizes = (config.chunk_size, config.action_dim)
    _check_floating(config, port)
    # An exporter that cannot infer a shape calls it dynamic; what comes out is then checked when it comes.
    fits = len(port.shape) == 3 and all(
        found in (None, size) for found, size in zip(port.shape[1:], sizes, strict=True)
    )
    if not fits:
        raise CheckpointError(f"{config.model}: expected a chunk {_shape(sizes)} (B, H, A), got output {port}")


def _check_floating(config: ExportedConfig, port: Port) -> None:
    if port.dtype is None or not np.issubdtype(port.dtype, np.floating):
        raise CheckpointError(f"{config.model}: expected floating-point inputs and outputs, got {port}")


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(('B', *map(str, sizes)))})"
