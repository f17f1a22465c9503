# SPDX-License-Identifier: Apache-2.0
"""OpenVINO's graphs (IR), run by it on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.device import choose_device
from policy_ros.policies.exported.graph import Port
from policy_ros.policies.inputs import Array


class OpenVinoGraph:
    """A graph in OpenVINO, without any extension.

    Args:
        path: the ``.xml``, with its ``.bin`` beside it.
        device: as for :func:`open_graph`; only the CPU.
    """

    def __init__(self, path: Path, device: str | torch.device | None) -> None:
        openvino = _library()
        self.device = choose_device("cpu" if device is None else device)
        if self.device.type != "cpu":
            raise ConfigurationError(f"device: expected cpu, where OpenVINO runs, got '{self.device}'")
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise CheckpointError(f"{path}: expected its weights in {weights.name} beside it, found nothing")
        try:
            core = openvino.Core()
            model = core.read_model(path, weights)
            self._compiled = core.compile_model(
                model,
                "CPU",
                # Full precision and few threads, as everywhere else: the arm's own threads need their time.
                {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"},
            )
        except RuntimeError as error:
            raise CheckpointError(
                f"{path}: expected an OpenVINO model, got {' '.join(str(error).split())[:300]}"
            ) from error
        self.inputs = tuple(map(_port, self._compiled.inputs))
        self.outputs = tuple(map(_port, self._compiled.outputs))

    def run(self, inputs: Mapping[str, Array], output: str) -> Array:
        """One output, for all inputs by name."""
        return np.array(self._compiled(dict(inputs))[output])


def _library() -> ModuleType:
    try:
        import openvino
    except ImportError:
        raise ConfigurationError(
            "an OpenVINO model needs OpenVINO, which is not installed: pip install 'policy_ros[openvino]'"
        ) from None
    library: ModuleType = openvino
    return library


def _port(port: Any) -> Port:
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    names = port.names
    return Port(port.any_name if names else "", shape, _dtype(port.element_type))


def _dtype(element_type: Any) -> np.dtype[np.generic] | None:
    try:
        dtype: np.dtype[np.generic] = np.dtype(element_type.to_dtype())
    except (RuntimeError, TypeError):
        return None
    return dtype
