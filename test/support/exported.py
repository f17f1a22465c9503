# SPDX-License-Identifier: Apache-2.0
"""Small exported models: a chunk whose row k is ``scale * state + k * mean(image)``, as ONNX and as OpenVINO IR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import CAMERA, IMAGE_SHAPE, JOINTS

IMAGE = f"observation.images.{CAMERA}"
HORIZON = 20
SCALE = 0.5
STEP = 1e-3


def options(**changes: Any) -> dict[str, Any]:
    """The content of a ``config.json`` for these models."""
    return {
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [len(JOINTS)]},
            IMAGE: {"type": "VISUAL", "shape": list(IMAGE_SHAPE)},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [len(JOINTS)]}},
        "inputs": {"observation.state": "state", IMAGE: "image"},
        "chunk_size": HORIZON,
        "n_action_steps": HORIZON,
        **changes,
    }


def expected(state: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The chunk ``(H, A)`` for a state and an image in 0 to 1."""
    rows = STEP * np.arange(HORIZON, dtype=np.float32)
    return (SCALE * state + rows[:, None] * image.mean()).astype(np.float32)


def onnx_model(
    *,
    batch: int | str = "batch",
    image_shape: tuple[int | str, ...] = IMAGE_SHAPE,
    further_inputs: Mapping[str, list[int]] | None = None,
    element_type: str = "FLOAT",
    two_outputs: bool = False,
):
    """The graph as ``onnx.ModelProto``; sizes that are texts are dynamic."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, element_type)
    dtype = helper.tensor_dtype_to_np_dtype(kind)

    def constant(name: str, values: Any, dtype: Any = dtype):
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)

    nodes = [
        helper.make_node("Mul", ["state", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axis"], ["base"]),
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "rows"], ["offsets"]),
        helper.make_node("Add", ["base", "offsets"], ["chunk"]),
    ]
    joints = len(JOINTS)
    inputs = [
        helper.make_tensor_value_info("state", kind, [batch, joints]),
        helper.make_tensor_value_info("image", kind, [batch, *image_shape]),
        *(helper.make_tensor_value_info(name, kind, shape) for name, shape in (further_inputs or {}).items()),
    ]
    outputs = [helper.make_tensor_value_info("chunk", kind, [batch, HORIZON, joints])]
    if two_outputs:
        outputs.append(helper.make_tensor_value_info("scaled", kind, [batch, joints]))
    constants = [
        constant("scale", SCALE),
        constant("axis", [1], np.int64),
        constant("axes", [1, 2, 3], np.int64),
        constant("last", [1, 2], np.int64),
        constant("rows", STEP * np.arange(HORIZON).reshape(1, HORIZON, 1)),
    ]
    graph = helper.make_graph(nodes, "chunk", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_onnx(directory: Path, **graph: Any) -> Path:
    """``model.onnx`` in this directory."""
    import onnx

    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx_model(**graph), str(directory / "model.onnx"))
    return directory


def write_openvino(directory: Path, **graph: Any) -> Path:
    """``model.xml`` and ``model.bin`` in this directory."""
    import openvino

    directory.mkdir(parents=True, exist_ok=True)
    source = write_onnx(directory / "source", **graph)
    openvino.save_model(openvino.convert_model(str(source / "model.onnx")), str(directory / "model.xml"), False)
    return directory
