# SPDX-License-Identifier: Apache-2.0
"""An exported model as a policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policy_ros.errors import ActionError, CheckpointError, ConfigurationError, TrainingError
from policy_ros.policies.base import Policy
from policy_ros.policies.checkpoint import read_description, write_description
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.exported.config import ExportedConfig
from policy_ros.policies.exported.fit import check_fit, chunk_port
from policy_ros.policies.exported.graph import Graph, open_graph
from policy_ros.policies.inputs import Array
from policy_ros.policies.normalization import Normalization, Statistics
from policy_ros.policies.relative import RelativeActions


class ExportedPolicy(Policy):
    """A graph that takes normalised features ``(B, *shape)`` or ``(B, T, *shape)`` and gives a chunk ``(B, H, A)``.

    Normalisation is outside of the graph, as for every other policy; a graph that contains its own has none here.

    Args:
        config: options.
        normalization: from and to the graph's units.
        graph: what runs.

    Raises:
        ConfigurationError: no graph, since there are no fresh weights.
        CheckpointError: the graph does not fit the configuration.
    """

    name = "exported"
    config_class = ExportedConfig
    config: ExportedConfig
    _place: Tensor

    def __init__(
        self, config: ExportedConfig, normalization: Normalization | None = None, graph: Graph | None = None
    ) -> None:
        super().__init__(config, normalization)
        if graph is None:
            raise ConfigurationError(
                "policy 'exported' has no fresh weights: expected a checkpoint with an exported model; set policy.path"
            )
        check_fit(config, graph)
        self._graph = graph
        self._output = chunk_port(config, graph).name
        self._dtypes = {port.name: port.dtype for port in graph.inputs}
        self._one_by_one = any(port.shape[0] == 1 for port in graph.inputs)
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @classmethod
    def read_checkpoint(
        cls, path: Path, config: PolicyConfig, device: str | torch.device | None, *, shared: bool
    ) -> ExportedPolicy:
        """The policy in a checkpoint directory with a graph in place of weights."""
        description = read_description(path, config)
        assert isinstance(description.config, ExportedConfig)
        graph = open_graph(path / description.config.model, device)
        policy = cls(description.config, description.normalization, graph)
        description.apply(policy)
        return policy.to(graph.device)

    @classmethod
    def check_files(cls, path: Path, config: PolicyConfig) -> None:
        """The graph is there."""
        assert isinstance(config, ExportedConfig)
        if not (path / config.model).is_file():
            raise CheckpointError(f"{path}: expected an exported model in {config.model!r:.80}, found nothing")

    @property
    def device(self) -> torch.device:
        """Where observations are prepared; the graph runs there too."""
        return self._place.device

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``; a graph for a batch of one runs once for each."""
        inputs = {name: self._array(name, batch[key]) for key, name in self.config.graph_inputs.items()}
        count = len(next(iter(inputs.values())))
        step = 1 if self._one_by_one else count
        parts = [
            self._graph.run({name: value[first : first + step] for name, value in inputs.items()}, self._output)
            for first in range(0, count, step)
        ]
        chunks = np.concatenate(parts)
        wanted = (count, self.config.chunk_size, self.config.action_dim)
        if chunks.shape != wanted:
            raise ActionError(f"{self.config.model}: expected chunks {wanted} (B, H, A), got {chunks.shape}")
        return torch.from_numpy(chunks).to(self.device, torch.float32)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """There is none.

        Raises:
            TrainingError: always.
        """
        raise TrainingError("policy 'exported' cannot be trained: train the policy that it was exported from")

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Refused: the graph is a file.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("policy 'exported' cannot be saved: copy its directory")

    def _array(self, name: str, value: Tensor) -> Array:
        return value.cpu().numpy().astype(self._dtypes[name], copy=False)


def describe_export(
    directory: str | os.PathLike[str],
    options: Mapping[str, Any],
    *,
    statistics: Statistics | None = None,
    relative: RelativeActions | None = None,
) -> ExportedPolicy:
    """Make a checkpoint of a directory that has an exported model in it: writes ``config.json`` and the processors.

    Args:
        directory: with ``model.onnx``, or another file that ``options`` names as ``model``.
        options: those of :class:`ExportedConfig`, in the form that they have in ``config.json``.
        statistics: of the data, where ``normalization_mapping`` asks for any.
        relative: how the graph's actions are offsets from the state; None where they are absolute.

    Returns:
        The policy, on the CPU.

    Raises:
        CheckpointError: the graph or the statistics do not fit.
        ConfigurationError: an option is unknown, missing or out of range, or a library is not installed.
    """
    path = Path(directory)
    config = ExportedConfig.from_dict(options)
    normalization = None if statistics is None else Normalization(config, statistics)
    policy = ExportedPolicy(config, normalization, open_graph(path / config.model, "cpu"))
    policy.relative = relative
    write_description(policy, path)
    return policy.eval()
