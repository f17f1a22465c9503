# SPDX-License-Identifier: Apache-2.0
"""An exported model is a policy like any other, and one that does not fit is refused with what to do."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.checkpoints import IMAGE_SHAPE, JOINTS
from support.exported import HORIZON, IMAGE, expected, onnx_model, options, write_onnx, write_openvino

from policy_ros.errors import CheckpointError, ConfigurationError, TrainingError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.exported.graph import open_graph
from policy_ros.policies.relative import RelativeActions

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from policy_ros.policies.exported.policy import describe_export  # noqa: E402


def observation(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "observation.state": random.normal(size=len(JOINTS)).astype(np.float32),
        IMAGE: random.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8),
    }


def wanted(observation: dict[str, np.ndarray]) -> np.ndarray:
    return expected(observation["observation.state"], observation[IMAGE] / 255.0)


@pytest.fixture(params=["onnx", "openvino"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint of each kind."""
    if request.param == "onnx":
        describe_export(write_onnx(tmp_path), options())
    else:
        pytest.importorskip("openvino")
        describe_export(write_openvino(tmp_path), options(model="model.xml"))
    return tmp_path


def test_a_loaded_model_predicts_what_its_graph_computes(checkpoint: Path):
    policy = load_policy(checkpoint, device="cpu")
    assert policy.name == "exported"
    policy.freeze()
    policy.warmup()
    given = observation()
    np.testing.assert_allclose(policy.predict(given), wanted(given), atol=1e-6)
    np.testing.assert_allclose(policy.select_action(given), wanted(given)[0], atol=1e-6)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_several_observations_are_answered_each_for_itself(tmp_path: Path, batch: int | str):
    policy = describe_export(write_onnx(tmp_path, batch=batch), options())
    several = [observation(seed) for seed in range(3)]
    np.testing.assert_allclose(policy.predict_batch(several), [wanted(each) for each in several], atol=1e-6)


def test_half_precision_graphs_get_half_precision(tmp_path: Path):
    policy = describe_export(write_onnx(tmp_path, element_type="FLOAT16"), options())
    given = observation()
    assert policy.predict(given).dtype == np.float32
    np.testing.assert_allclose(policy.predict(given), wanted(given), atol=5e-3)


def test_normalisation_is_around_the_graph(tmp_path: Path):
    statistics = {
        "observation.state": {"mean": torch.full((3,), 2.0), "std": torch.full((3,), 4.0)},
        "action": {"mean": torch.full((3,), -1.0), "std": torch.full((3,), 0.5)},
    }
    modes = {"STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    describe_export(write_onnx(tmp_path), options(normalization_mapping=modes), statistics=statistics)
    given = observation()
    inner = expected((given["observation.state"] - 2.0) / 4.0, given[IMAGE] / 255.0)
    np.testing.assert_allclose(load_policy(tmp_path, device="cpu").predict(given), inner * 0.5 - 1.0, atol=1e-6)


def test_offsets_of_a_graph_are_added_to_the_state(tmp_path: Path):
    describe_export(write_onnx(tmp_path), options(), relative=RelativeActions.excluding((JOINTS[1],), JOINTS, 3))
    given = observation()
    found = load_policy(tmp_path, device="cpu").predict(given)
    np.testing.assert_allclose(found, wanted(given) + given["observation.state"] * [1, 0, 1], atol=1e-6)


def test_statistics_that_are_asked_for_have_to_be_there(tmp_path: Path):
    write_onnx(tmp_path)
    values = {"type": "exported", **options(normalization_mapping={"STATE": "MEAN_STD"})}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="no normalisation statistics"):
        load_policy(tmp_path, device="cpu")


def change(**changes: object) -> Callable[[Path], None]:
    """Describe the ordinary model in another way."""
    return lambda path: write(path, options(**changes), {})


def export(**graph: object) -> Callable[[Path], None]:
    """Export another model, described in the ordinary way."""
    return lambda path: write(path, options(), graph)


def write(path: Path, described: dict[str, object], graph: dict[str, object]) -> None:
    write_onnx(path, **graph)
    (path / "config.json").write_text(json.dumps({"type": "exported", **described}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (change(inputs={}), "no input for 'observation.state' to 'observation.state'.*its inputs are 'state'"),
        (change(inputs={"observation.stat": "state"}), "did you mean 'observation.state'"),
        (change(inputs={"observation.state": "image", IMAGE: "image"}), "one feature for each input"),
        (change(chunk_size=7, n_action_steps=7), r"expected a chunk \(B, 7, 3\).*got output 'chunk' \(\?, 20, 3\)"),
        (change(output="actions"), "expected an output 'actions', got 'chunk'"),
        (change(model="../model.onnx"), "name of a file in the checkpoint"),
        (change(model="model.so"), "ends in .onnx or .xml"),
        (change(model="other.onnx"), "expected an exported model, found nothing"),
        (change(n_obs_steps=2), r"'observation.state' expected an input \(B, 2, 3\), got 'state' \(\?, 3\)"),
        (export(image_shape=(3, 24, 32)), r"expected an input \(B, 3, 48, 64\), got 'image' \(\?, 3, 24, 32\)"),
        (export(image_shape=(3, "h", "w")), r"dynamic in axis 2, 3; export it with the fixed shape \(B, 3, 48, 64\)"),
        (export(batch=2), r"expected an input \(B, 3\), got 'state' \(2, 3\)"),
        (
            export(further_inputs={"noise": [1, 20, 3]}),
            "every input of the graph to take a feature, got none for noise",
        ),
        (export(two_outputs=True), 'expected one output, or its name as "output"'),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path, make: Callable[[Path], None], message: str):
    make(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_policy(tmp_path, device="cpu")


def test_a_named_output_is_taken_from_several(tmp_path: Path):
    policy = describe_export(write_onnx(tmp_path, two_outputs=True), options(output="chunk"))
    assert policy.predict(observation()).shape == (HORIZON, len(JOINTS))


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x80\x04pickle"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes):
    write(tmp_path, options(), {})
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected an ONNX graph"):
        load_policy(tmp_path, device="cpu")


def test_operators_of_other_libraries_are_unknown(tmp_path: Path):
    model = onnx_model()
    model.graph.node[0].op_type, model.graph.node[0].domain = "Anything", "somebody.else"
    model.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))
    write(tmp_path, options(), {})
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(CheckpointError, match="Anything"):
        load_policy(tmp_path, device="cpu")


def external(model, location: str):
    """The graph with its table of rows in another file."""
    rows = next(each for each in model.graph.initializer if each.name == "rows")
    data = rows.raw_data
    onnx.external_data_helper.set_external_data(rows, location)
    rows.ClearField("raw_data")
    rows.data_location = onnx.TensorProto.EXTERNAL
    return data


def test_data_of_a_graph_may_lie_beside_it(tmp_path: Path):
    model = onnx_model()
    data = external(model, "model.onnx.data")
    (tmp_path / "model.onnx.data").write_bytes(data)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    given = observation()
    np.testing.assert_allclose(describe_export(tmp_path, options()).predict(given), wanted(given), atol=1e-6)


@pytest.mark.parametrize("where", ["../outside.data", "absolute", "link"])
def test_data_of_a_graph_lies_nowhere_else(tmp_path: Path, where: str):
    outside = tmp_path / "outside.data"
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    location = {"absolute": str(outside), "link": "model.onnx.data"}.get(where, where)
    model = onnx_model()
    outside.write_bytes(external(model, location))
    if where == "link":
        (folder / location).symlink_to(outside)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="expected an ONNX graph"):
        describe_export(folder, options())


@pytest.mark.parametrize(("library", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
):
    def without(name: str, *further: object) -> object:
        if name == library:
            raise ImportError(name)
        return original(name, *further)

    original = builtins.__import__
    write(tmp_path, options(model="model.onnx" if extra == "onnx" else "model.xml"), {})
    (tmp_path / "model.xml").write_text("<net/>")
    (tmp_path / "model.bin").write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=rf"pip install 'policy_ros\[{extra}\]'"):
        load_policy(tmp_path, device="cpu")


def test_a_gpu_that_onnx_runtime_cannot_use_is_not_replaced_by_the_cpu(tmp_path: Path, monkeypatch):
    """It would only write a line to stderr, where its CUDA libraries are missing."""
    import onnxruntime

    write_onnx(tmp_path)
    whole = onnxruntime.InferenceSession
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: whole(path, options, providers=providers[-1:]),
    )
    with pytest.raises(ConfigurationError, match="ONNX Runtime cannot use 'cuda'"):
        open_graph(tmp_path / "model.onnx", "cuda")


def test_an_openvino_model_needs_its_weights(tmp_path: Path):
    pytest.importorskip("openvino")
    write_openvino(tmp_path)
    (tmp_path / "model.bin").unlink()
    (tmp_path / "config.json").write_text(json.dumps({"type": "exported", **options(model="model.xml")}))
    with pytest.raises(CheckpointError, match="expected its weights in model.bin"):
        load_policy(tmp_path, device="cpu")


def test_a_broken_openvino_model_is_refused(tmp_path: Path):
    pytest.importorskip("openvino")
    write_openvino(tmp_path)
    (tmp_path / "model.xml").write_text("<net/>")
    (tmp_path / "config.json").write_text(json.dumps({"type": "exported", **options(model="model.xml")}))
    with pytest.raises(CheckpointError, match="expected an OpenVINO model"):
        load_policy(tmp_path, device="cpu")


def test_there_is_nothing_to_train_nor_to_make_afresh(tmp_path: Path):
    policy = describe_export(write_onnx(tmp_path), options())
    with pytest.raises(TrainingError, match="cannot be trained"):
        policy.loss({})
    with pytest.raises(ConfigurationError, match="no fresh weights"):
        make_policy("exported", options(), device="cpu")
    with pytest.raises(ConfigurationError, match="copy its directory"):
        policy.save_pretrained(tmp_path / "other")
