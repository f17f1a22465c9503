# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs, run by ONNX Runtime on the CPU or on a CUDA device."""

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

_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
}
_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY = 3


class OnnxGraph:
    """A graph in ONNX Runtime, without any library of custom operators.

    Args:
        path: the file; the data of large ones lies beside it.
        device: as for :func:`open_graph`.
    """

    def __init__(self, path: Path, device: str | torch.device | None) -> None:
        runtime = _library()
        self.device = _device(runtime, device)
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(path, options, providers=_providers(self.device))
        except Exception as error:  # its exceptions have no base of their own
            raise CheckpointError(
                f"{path}: expected an ONNX graph, got {' '.join(str(error).split())[:300]}"
            ) from error
        if self.device.type == "cuda" and _CUDA not in self._session.get_providers():
            raise ConfigurationError(  # ONNX Runtime itself goes on on the CPU, with a line on stderr
                f"device: ONNX Runtime cannot use '{self.device}' here: its CUDA or cuDNN is missing or another version"
            )
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))

    def run(self, inputs: Mapping[str, Array], output: str) -> Array:
        """One output, for all inputs by name."""
        (value,) = self._session.run([output], dict(inputs))
        return np.asarray(value)


def _library() -> ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigurationError(
            "model.onnx needs ONNX Runtime, which is not installed: pip install 'policy_ros[onnx]'"
        ) from None
    library: ModuleType = onnxruntime
    return library


def _device(runtime: ModuleType, device: str | torch.device | None) -> torch.device:
    has_cuda = _CUDA in runtime.get_available_providers()
    if device is None:
        return choose_device(None if has_cuda else "cpu")
    chosen = choose_device(device)
    if chosen.type == "cuda" and not has_cuda:
        raise ConfigurationError(
            f"device: expected cpu, since the installed ONNX Runtime has no CUDA, got '{chosen}'; "
            "pip install onnxruntime-gpu in place of onnxruntime"
        )
    return chosen


def _providers(device: torch.device) -> list[Any]:
    on_cpu = "CPUExecutionProvider"
    return [on_cpu] if device.type == "cpu" else [(_CUDA, {"device_id": device.index or 0}), on_cpu]


def _port(argument: Any) -> Port:
    name = _DTYPES.get(argument.type)
    shape = tuple(size if isinstance(size, int) else None for size in argument.shape)
    return Port(argument.name, shape, None if name is None else np.dtype(name))
