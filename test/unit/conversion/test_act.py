# SPDX-License-Identifier: Apache-2.0
"""ACT of its authors to LeRobot's layout."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.originals import Evil, act_original, act_statistics, evil_pickle, write_act_original

from policy_ros.cli.main import main
from policy_ros.conversion.act import ACTAnswers, convert_act
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies import load_policy, make_policy

ANSWERS = ACTAnswers(cameras=("top", "wrist"), image_size=(64, 96), heads=2)


def make_act(**options: Any) -> Any:
    torch.manual_seed(0)
    pixel = {"mean": torch.tensor([0.485, 0.456, 0.406]), "std": torch.tensor([0.229, 0.224, 0.225])}
    return make_policy(
        "act",
        {
            "input_features": {
                "observation.state": {"type": "STATE", "shape": [14]},
                "observation.images.top": {"type": "VISUAL", "shape": [3, 64, 96]},
                "observation.images.wrist": {"type": "VISUAL", "shape": [3, 64, 96]},
            },
            "output_features": {"action": {"type": "ACTION", "shape": [14]}},
            "chunk_size": 6,
            "n_action_steps": 6,
            "dim_model": 16,
            "n_heads": 2,
            "dim_feedforward": 24,
            "n_encoder_layers": 2,
            "n_vae_encoder_layers": 1,
            **options,
        },
        statistics={
            "observation.state": {"mean": torch.linspace(-1, 1, 14), "std": torch.linspace(0.1, 2, 14)},
            "action": {"mean": torch.linspace(1, -1, 14), "std": torch.linspace(2, 0.1, 14)},
            "observation.images.top": pixel,
            "observation.images.wrist": pixel,
        },
        device="cpu",
    ).eval()


@pytest.fixture(scope="module")
def ours() -> Any:
    return make_act()


@pytest.fixture(scope="module")
def original(ours, tmp_path_factory) -> Path:
    """Directory of an original with the weights of ours."""
    return write_act_original(ours, tmp_path_factory.mktemp("act"))


@pytest.fixture
def changed(ours, tmp_path):
    """Writes an original with changed weights or statistics, and says where."""

    def write(weights: Any = None, statistics: Any = None) -> Path:
        torch.save(act_original(ours) if weights is None else weights, tmp_path / "policy_best.ckpt")
        content = act_statistics(ours) if statistics is None else statistics
        raw = content if isinstance(content, bytes) else pickle.dumps(content)
        (tmp_path / "dataset_stats.pkl").write_bytes(raw)
        return tmp_path

    return write


def observe() -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    return {
        "observation.state": random.standard_normal(14).astype(np.float32),
        "observation.images.top": random.randint(0, 256, (3, 64, 96), np.uint8),
        "observation.images.wrist": random.randint(0, 256, (3, 64, 96), np.uint8),
    }


def test_every_tensor_arrives_under_its_new_name(ours, original, tmp_path):
    converted = convert_act(original, tmp_path / "out", ANSWERS)
    again = load_policy(tmp_path / "out", device="cpu")
    expected, found = ours.state_dict(), again.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert converted.features["action"] == (14,)
    assert [note.partition(" left out")[0] for note in converted.notes] == ["decoder layers 1 to 6", "is_pad_head"]


def test_it_answers_the_same(ours, original, tmp_path):
    convert_act(original, tmp_path / "out", ANSWERS)
    again = load_policy(tmp_path / "out", device="cpu")
    # Ours adds 1e-8 to its divisors, the original nothing.
    np.testing.assert_allclose(again.predict(observe()), ours.predict(observe()), rtol=1e-5, atol=1e-6)
    assert again.normalization.eps == 0.0


@pytest.mark.parametrize("options", [{"pre_norm": True}, {"vision_backbone": "resnet50"}])
def test_what_the_weights_tell_is_not_asked_for(tmp_path, options):
    ours = make_act(**options)
    convert_act(write_act_original(ours, tmp_path / "original"), tmp_path / "out", ANSWERS)
    config = load_policy(tmp_path / "out", device="cpu").config
    assert {name: getattr(config, name) for name in options} == options
    assert (config.chunk_size, config.dim_feedforward, config.n_encoder_layers) == (6, 24, 2)


def test_temporal_aggregation_becomes_an_ensemble(original, tmp_path):
    answers = ACTAnswers(cameras=("top",), image_size=(64, 96), heads=2, temporal_aggregation=True)
    convert_act(original / "policy_best.ckpt", tmp_path / "out", answers)
    config = load_policy(tmp_path / "out", device="cpu").config
    assert (config.temporal_ensemble_coeff, config.n_action_steps) == (0.01, 1)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_statistics_of_every_protocol_are_read(ours, tmp_path, protocol):
    convert_act(write_act_original(ours, tmp_path / "original", protocol=protocol), tmp_path / "out", ANSWERS)
    found = load_policy(tmp_path / "out", device="cpu").normalization.statistics()
    torch.testing.assert_close(found["action"]["std"], torch.linspace(2, 0.1, 14))


def test_statistics_of_another_byte_order_are_read(ours, changed, tmp_path):
    statistics = {name: array.astype(">f8") for name, array in act_statistics(ours).items()}
    convert_act(changed(statistics=statistics), tmp_path / "out", ANSWERS)
    found = load_policy(tmp_path / "out", device="cpu").normalization.statistics()
    torch.testing.assert_close(found["action"]["std"], torch.linspace(2, 0.1, 14))


def renamed(before: str, after: str):
    return lambda weights: {name.replace(before, after): value for name, value in weights.items()}


def huge_in_a_small_file(weights: Any) -> Any:
    """One row or column of each matrix of layers that would take hundreds of gigabytes."""
    layers = {f"model.transformer.encoder.layers.{layer}.linear1.weight": torch.zeros(16384, 1) for layer in range(128)}
    return {**weights, "model.action_head.weight": torch.zeros(14, 16384), **layers}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: {**w, "model.mlp.0.weight": torch.zeros(1)}, "got the CNNMLP policy"),
        (lambda w: {**w, "model.input_proj_env_state.weight": torch.zeros(1)}, "got the variant without"),
        (lambda w: {**w, "model.backbones.1.0.body.conv1.weight": torch.zeros(1)}, "one backbone for all cameras"),
        (lambda w: {**w, "model.backbones.0.1.row_embed.weight": torch.zeros(1)}, "learned ones"),
        (lambda w: {**w, "model.depth_head.weight": torch.zeros(1)}, "'model.depth_head.weight': another variant"),
        (
            lambda w: {k: v for k, v in w.items() if "query_embed" not in k},
            "'model.decoder_pos_embed.weight' is missing",
        ),
        (lambda w: {**w, "model.latent_proj.weight": torch.zeros(9, 16)}, r"expected \(64, 16\), got \(9, 16\)"),
        (lambda w: {**w, "model.action_head.bias": torch.full((14,), torch.nan)}, "expected finite numbers"),
        (renamed("model.", "policy."), "tensors of unknown meaning"),
        (lambda w: {"state_dict": w}, "'state_dict' is a mapping with model"),
        (lambda w: [1, 2], "expected the state_dict of an ACTPolicy, names to tensors, got list"),
        (lambda w: {**w, "model.action_head.bias": torch.zeros(14).to_sparse()}, "dense tensor"),
        (lambda w: {**w, "model.action_head.bias": torch.zeros(1).expand(2**34)}, "of about the file's size"),
        (huge_in_a_small_file, "does not fit the network of 'act'"),
    ],
)
def test_another_network_is_refused(ours, changed, tmp_path, change, match):
    with pytest.raises(CheckpointError, match=match):
        convert_act(changed(weights=change(act_original(ours))), tmp_path / "out", ANSWERS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("qpos_std"), "expected qpos_std, got"),
        (lambda s: s.update(action_std=np.zeros(14, np.float32)), "'action_std': expected positive"),
        (lambda s: s.update(action_mean=np.zeros(13, np.float32)), "expected 'mean' of shape"),
        (lambda s: s.update(action_mean=np.full(14, np.nan)), "not finite"),
        (
            lambda s: s.update(example_qpos=np.array([object()])),
            "needs the code of builtins.object|instead of numbers",
        ),
        (lambda s: s.update(example_qpos=np.array(["text"])), "'U4' instead of numbers"),
        (lambda s: s.update(example_qpos=10**10000), "'example_qpos': expected numbers, got int"),
        (lambda s: s.update({10**10000: 1.0}), "by name"),
        (lambda s: s.update(example_qpos="text"), "'example_qpos': expected numbers, got str"),
        (lambda s: s.update(example_qpos=Path("/")), "needs the code of pathlib"),
    ],
)
def test_other_statistics_are_refused(ours, changed, tmp_path, change, match):
    statistics = act_statistics(ours)
    change(statistics)
    with pytest.raises(CheckpointError, match=match):
        convert_act(changed(statistics=statistics), tmp_path / "out", ANSWERS)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"", "corrupt"),
        (b"not a pickle", "corrupt"),
        (pickle.dumps([1.0]), "got list"),
        (b"\x80\x04}r\xff\xff\xff\x7f.", "corrupt"),
        (pickle.dumps({"action_mean": np.zeros(3)})[:-20], "corrupt"),
    ],
)
def test_corrupt_statistics_are_refused(changed, tmp_path, raw, match):
    with pytest.raises(CheckpointError, match=match):
        convert_act(changed(statistics=raw), tmp_path / "out", ANSWERS)


def test_statistics_that_want_to_run_something_do_not(changed, tmp_path):
    with pytest.raises(CheckpointError, match=r"needs the code of \w+\.mkdir; code is never run here"):
        convert_act(changed(statistics=evil_pickle(tmp_path / "made")), tmp_path / "out", ANSWERS)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_want_to_run_something_do_not(ours, changed, tmp_path, zipped):
    source = changed()
    torch.save(
        {**act_original(ours), "x": Evil(tmp_path / "made")},
        source / "policy_best.ckpt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(CheckpointError, match=r"\w+\.mkdir.*torch.save\(policy.state_dict\(\)"):
        convert_act(source, tmp_path / "out", ANSWERS)
    assert not (tmp_path / "made").exists()


def test_a_file_cut_short_is_refused(original, tmp_path):
    weights = (original / "policy_best.ckpt").read_bytes()
    (tmp_path / "policy_best.ckpt").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="corrupt"):
        convert_act(tmp_path, tmp_path / "out", ANSWERS)


def test_missing_files_are_named(tmp_path, changed):
    with pytest.raises(CheckpointError, match="policy_best.ckpt: expected a file, found nothing"):
        convert_act(tmp_path, tmp_path / "out", ANSWERS)
    source = changed()
    (source / "dataset_stats.pkl").unlink()
    with pytest.raises(CheckpointError, match="dataset_stats.pkl: expected a file, found nothing"):
        convert_act(source, tmp_path / "out", ANSWERS)


def test_a_checkpoint_is_overwritten_only_on_request(original, tmp_path):
    out = tmp_path / "out"
    convert_act(original, out, ANSWERS)
    before = (out / "config.json").stat().st_ino
    with pytest.raises(ConfigurationError, match="--out: .* exists; .* --overwrite"):
        convert_act(original, out, ANSWERS)
    assert (out / "config.json").stat().st_ino == before
    convert_act(original, out, ANSWERS, overwrite=True)
    assert (out / "config.json").stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_is_no_checkpoint_is_never_overwritten(original, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match="thesis.tex, which is no part of a checkpoint"):
        convert_act(original, tmp_path / "out", ANSWERS, overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["robot.yaml", "gate.yaml"], "expected a checkpoint with config.json"),
        (["a/config.json", "a/model.safetensors"], "expected a checkpoint with config.json"),
        (["config.json", "step_9/config.json"], "a further checkpoint in .*step_9"),
    ],
)
def test_parameter_files_and_several_checkpoints_are_never_overwritten(original, tmp_path, names, match):
    for name in names:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).touch()
    with pytest.raises(ConfigurationError, match=match):
        convert_act(original, tmp_path / "out", ANSWERS, overwrite=True)
    assert all((tmp_path / "out" / name).exists() for name in names)


def test_nothing_is_left_of_a_conversion_that_failed(original, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("policy_ros.policies.checkpoint.write_processors", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        convert_act(original, tmp_path / "out", ANSWERS)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_made(original, tmp_path, capsys):
    arguments = ["convert", "act", str(original), "--cameras", "top, wrist", "--image-size", "64x96", "--heads", "2"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["policy"] == "act"
    assert summary["features"]["observation.images.wrist"] == [3, 64, 96]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "policy-ros convert: --out:" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--image-size", "64"], ["--heads", "two"], []])
def test_impossible_arguments_are_a_usage_error(arguments):
    with pytest.raises(SystemExit) as error:
        main(["convert", "act", "x", "--cameras", "top", *arguments, "--out", "y"])
    assert error.value.code == 2


def test_cameras_are_different_names():
    with pytest.raises(ConfigurationError, match="--cameras: expected different names"):
        ACTAnswers(cameras=("top", "top"), image_size=(64, 96))
