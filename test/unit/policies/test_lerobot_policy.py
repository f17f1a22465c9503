# SPDX-License-Identifier: Apache-2.0
"""Policies of an installed LeRobot run as ours do; what would be imported by name never reaches it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.checkpoints import CAMERA, IMAGE_SHAPE, JOINTS, write_act

from policy_ros.errors import CheckpointError, ConfigurationError, ObservationError, TrainingError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.base import Policy
from policy_ros.policies.lerobot.wrapping import wrap_checkpoint

IMAGE = f"observation.images.{CAMERA}"
FEATURES = {
    "input_features": {
        "observation.state": {"type": "STATE", "shape": [len(JOINTS)]},
        IMAGE: {"type": "VISUAL", "shape": list(IMAGE_SHAPE)},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [len(JOINTS)]}},
}
SMALL = {
    "act": {
        "chunk_size": 20,
        "n_action_steps": 20,
        "dim_model": 32,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "pretrained_backbone_weights": None,
        "use_vae": False,
    },
    "diffusion": {
        "down_dims": [32, 64],
        "horizon": 8,
        "n_action_steps": 4,
        "crop_shape": [40, 56],
        "num_train_timesteps": 20,
        "num_inference_steps": 5,
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "n_groups": 4,
    },
    "tdmpc": {
        "input_features": {"observation.state": FEATURES["input_features"]["observation.state"]},
        "horizon": 3,
        "n_action_repeats": 1,
        "n_action_steps": 3,
        "latent_dim": 8,
        "mlp_dim": 16,
        "cem_iterations": 2,
        "n_gaussian_samples": 8,
        "n_pi_samples": 4,
        "n_elites": 4,
    },
    "vqbet": {
        "n_action_pred_token": 2,
        "action_chunk_size": 3,
        "crop_shape": [40, 56],
        "gpt_n_layer": 1,
        "gpt_n_head": 2,
        "gpt_input_dim": 32,
        "gpt_output_dim": 32,
        "gpt_hidden_dim": 32,
        "vqvae_embedding_dim": 16,
        "n_obs_steps": 3,
        "vqvae_enc_hidden_dim": 16,
        "spatial_softmax_num_keypoints": 4,
    },
}


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    low, high = -torch.ones(len(JOINTS)), torch.arange(1.0, len(JOINTS) + 1)
    pixel = torch.full((3, 1, 1), 0.5)
    joints = {"mean": low, "std": high, "min": low, "max": high}
    return {
        "observation.state": joints,
        "action": joints,
        IMAGE: {"mean": pixel, "std": pixel / 2, "min": 0 * pixel, "max": 2 * pixel},
    }


def observation(steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    time = () if steps == 1 else (steps,)
    return {
        "observation.state": random.normal(size=(*time, len(JOINTS))).astype(np.float32),
        IMAGE: random.integers(0, 256, (*time, *IMAGE_SHAPE), dtype=np.uint8),
    }


@pytest.fixture(params=sorted(SMALL))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Policy, Policy]:
    """Our own policy and LeRobot's, of the same checkpoint."""
    pytest.importorskip("lerobot")
    if request.param == "diffusion":
        pytest.importorskip("diffusers")
    torch.manual_seed(0)
    ours = make_policy(request.param, {**FEATURES, **SMALL[request.param]}, statistics=statistics(), device="cpu")
    ours.save_pretrained(tmp_path / "theirs")
    wrap_checkpoint(tmp_path / "theirs", tmp_path / "wrapped")
    return load_policy(tmp_path / "theirs", device="cpu"), load_policy(tmp_path / "wrapped", device="cpu")


def test_a_wrapped_policy_predicts_what_ours_does(pair: tuple[Policy, Policy]):
    ours, wrapped = pair
    assert wrapped.name == "lerobot"
    several = [observation(ours.config.n_obs_steps, seed) for seed in range(2)]
    torch.manual_seed(1)
    expected = ours.predict_batch(several)
    torch.manual_seed(1)
    found = wrapped.predict_batch(several)
    # LeRobot's diffusion returns the rows that are meant to be executed.
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=1e-5)
    assert wrapped.config.chunk_size == found.shape[1]


def test_a_wrapped_policy_acts_as_ours_does_and_a_prediction_in_between_changes_nothing(pair: tuple[Policy, Policy]):
    ours, wrapped = pair
    torch.manual_seed(1)
    ours.reset()
    expected = [ours.select_action(observation(1, seed)) for seed in range(6)]
    torch.manual_seed(1)
    wrapped.reset()
    found = []
    for seed in range(6):
        found.append(wrapped.select_action(observation(1, seed)))
        with torch.random.fork_rng():
            wrapped.predict(observation(ours.config.n_obs_steps, 99))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_wrapped_policy_is_ready_for_the_node(pair: tuple[Policy, Policy]):
    wrapped = pair[1]
    wrapped.freeze()
    wrapped.warmup()
    with pytest.raises(ObservationError, match="missing"):
        wrapped.predict({})
    with pytest.raises(TrainingError, match="lerobot-train"):
        wrapped.loss({})
    with pytest.raises(ConfigurationError, match="copy its directory"):
        wrapped.save_pretrained("anywhere")


def test_a_policy_without_chunks_is_refused_with_the_reason(tmp_path: Path):
    pytest.importorskip("lerobot")
    ours = make_policy("gaussian_actor", FEATURES, statistics=statistics(), device="cpu")
    ours.save_pretrained(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"'gaussian_actor' does not answer with a chunk: NotImplementedError"):
        wrap_checkpoint(tmp_path / "theirs", tmp_path / "wrapped")
    assert not (tmp_path / "wrapped").exists()


def test_the_instruction_reaches_lerobots_processors(tmp_path: Path):
    pytest.importorskip("lerobot")
    wrapped = wrap_checkpoint(write_act(tmp_path / "theirs"), tmp_path / "wrapped")
    seen = []
    preprocess = wrapped._wrapped.preprocess
    object.__setattr__(wrapped._wrapped, "preprocess", lambda batch: seen.append(batch["task"]) or preprocess(batch))
    wrapped.predict({**observation(1), "task": "pick the cube"})
    wrapped.predict(observation(1))
    assert seen == [["pick the cube"], [""]]


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path):
    pytest.importorskip("lerobot")
    from safetensors.torch import load_file, save_file

    wrap_checkpoint(write_act(tmp_path / "theirs"), tmp_path / "wrapped")
    tensors = load_file(tmp_path / "wrapped" / "model.safetensors")
    tensors.pop("model.action_head.bias")
    (tmp_path / "wrapped" / "model.safetensors").unlink()  # a link to the original
    save_file(tensors, tmp_path / "wrapped" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"cannot load it as 'act'.*action_head.bias"):
        load_policy(tmp_path / "wrapped", device="cpu")


def test_an_existing_directory_is_not_written_into(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist yet"):
        wrap_checkpoint(tmp_path, tmp_path)


def wrapped_by_hand(path: Path) -> Path:
    """A wrapped checkpoint, without LeRobot."""
    write_act(path)
    config = json.loads((path / "config.json").read_text())
    (path / "lerobot_config.json").write_text(json.dumps(config))
    (path / "config.json").write_text(json.dumps({"type": "lerobot", **FEATURES, "chunk_size": 20}))
    return path


def edit(file: Path, change: Callable[[dict], None]) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


IMPORTED = "somebody.module.Step"


@pytest.mark.parametrize("pipeline", ["policy_preprocessor", "policy_postprocessor"])
@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"class": IMPORTED}, f"expected a registry_name, got '{IMPORTED}'"),
        ({"class": IMPORTED, "registry_name": "normalizer_processor"}, f"got '{IMPORTED}'"),
        ({"registry_name": "normalizer_processor", "state_file": "../x.safetensors"}, "safetensors file here"),
        ({"registry_name": "normalizer_processor", "state_file": "x.pt"}, "safetensors file here"),
    ],
)
def test_a_processor_that_would_be_imported_or_read_elsewhere_is_refused(
    tmp_path: Path, pipeline: str, step: dict, message: str
):
    path = wrapped_by_hand(tmp_path / "act")
    edit(path / f"{pipeline}.json", lambda values: values["steps"].append(step))
    with pytest.raises(CheckpointError, match=message):
        load_policy(path, device="cpu")
    assert "somebody" not in sys.modules


def test_a_type_is_looked_up_in_lerobots_registry(tmp_path: Path):
    pytest.importorskip("lerobot")
    path = wrapped_by_hand(tmp_path / "act")
    edit(path / "lerobot_config.json", lambda values: values.update(type="os.path"))
    with pytest.raises(CheckpointError, match="LeRobot has no policy 'os.path'"):
        load_policy(path, device="cpu")


def test_without_lerobot_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = wrapped_by_hand(tmp_path / "act")
    monkeypatch.setitem(sys.modules, "lerobot", None)
    monkeypatch.setitem(sys.modules, "lerobot.configs.policies", None)
    with pytest.raises(ConfigurationError, match="pip install lerobot"):
        load_policy(path, device="cpu")


def test_there_are_no_fresh_weights():
    with pytest.raises(ConfigurationError, match="no fresh weights"):
        make_policy("lerobot", FEATURES, device="cpu")
