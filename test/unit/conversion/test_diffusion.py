# SPDX-License-Identifier: Apache-2.0
"""Diffusion Policy of its authors to LeRobot's layout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.originals import (
    Evil,
    encoder_original,
    normalizer_original,
    unet_original,
    write_workspace,
)

from policy_ros.cli.main import main
from policy_ros.conversion.diffusion import convert_diffusion
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies import load_policy, make_policy

Config = dict[str, Any]
TIMESTEP, STEPS = 8, 2  # values that encode the timestep, and observations

UNET = {
    "down_dims": [16, 32],
    "kernel_size": 3,
    "n_groups": 8,
    "diffusion_step_embed_dim": TIMESTEP,
    "cond_predict_scale": True,
}
DDPM = {
    "_target_": "diffusers.schedulers.scheduling_ddpm.DDPMScheduler",
    "num_train_timesteps": 10,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "squaredcos_cap_v2",
    "variance_type": "fixed_small",
    "clip_sample": True,
    "prediction_type": "epsilon",
}
DDIM = {
    **{name: value for name, value in DDPM.items() if name != "variance_type"},
    "_target_": "diffusers.schedulers.scheduling_ddim.DDIMScheduler",
    "set_alpha_to_one": True,
    "steps_offset": 0,
}
ROWS = {"horizon": 8, "n_obs_steps": STEPS, "n_action_steps": 4}


def vector_config() -> Config:
    """Of the policy without images: 5 entries, of which 1 to 3 are the state."""
    return {
        "training": {"use_ema": True},
        "policy": {
            "_target_": "diffusion_policy.policy.diffusion_unet_lowdim_policy.DiffusionUnetLowdimPolicy",
            "model": {
                "_target_": "ConditionalUnet1D",
                "input_dim": 2,
                "local_cond_dim": None,
                "global_cond_dim": 10,
                **UNET,
            },
            "noise_scheduler": DDPM,
            **ROWS,
            "num_inference_steps": 10,
            "obs_dim": 5,
            "action_dim": 2,
            "obs_as_local_cond": False,
            "obs_as_global_cond": True,
            "pred_action_steps_only": False,
            "oa_step_convention": True,
        },
    }


def image_config() -> Config:
    """Of the policy with images; what it conditions on is in its own order."""
    return {
        "training": {"use_ema": True},
        "policy": {
            "_target_": "diffusion_policy.policy.diffusion_unet_hybrid_image_policy.DiffusionUnetHybridImagePolicy",
            "shape_meta": {
                "obs": {
                    "eef": {"shape": [3]},
                    "wrist": {"shape": [3, 64, 96], "type": "rgb"},
                    "top": {"shape": [3, 64, 96], "type": "rgb"},
                    "grip": {"shape": [1], "type": "low_dim"},
                },
                "action": {"shape": [2]},
            },
            "noise_scheduler": DDIM,
            **ROWS,
            "num_inference_steps": 4,
            "obs_as_global_cond": True,
            "crop_shape": [56, 80],
            "obs_encoder_group_norm": True,
            "eval_fixed_crop": True,
            **UNET,
        },
    }


def inverse(order: list[int], width: int) -> list[int]:
    """Where each column of the original is in ours; ``order`` says which of the original each of ours is."""
    step = [order.index(column) for column in range(width)]
    return [*range(TIMESTEP), *(TIMESTEP + index * width + column for index in range(STEPS) for column in step)]


def make_diffusion(inputs: dict[str, Any], **options: Any) -> Any:
    torch.manual_seed(0)
    return make_policy(
        "diffusion",
        {
            "input_features": inputs,
            "output_features": {"action": {"type": "ACTION", "shape": [2]}},
            **ROWS,
            "down_dims": [16, 32],
            "kernel_size": 3,
            "diffusion_step_embed_dim": TIMESTEP,
            "num_train_timesteps": 10,
            **options,
        },
        device="cpu",
    ).eval()


@pytest.fixture(scope="module")
def vectors() -> Any:
    return make_diffusion(
        {
            "observation.state": {"type": "STATE", "shape": [2]},
            "observation.environment_state": {"type": "ENV", "shape": [3]},
        }
    )


@pytest.fixture(scope="module")
def images() -> Any:
    return make_diffusion(
        {
            "observation.state": {"type": "STATE", "shape": [4]},
            "observation.images.wrist": {"type": "VISUAL", "shape": [3, 64, 96]},
            "observation.images.top": {"type": "VISUAL", "shape": [3, 64, 96]},
        },
        crop_shape=[56, 80],
        use_separate_rgb_encoder_per_camera=True,
        noise_scheduler_type="DDIM",
        num_inference_steps=4,
    )


def vector_tensors(policy: Any) -> dict[str, torch.Tensor]:
    return {
        **unet_original(policy, inverse([1, 2, 0, 3, 4], 5)),
        **normalizer_original("obs", [2.0, 4.0, 0.5, 1.0, 1.0], [0.0, -1.0, 0.25, 0.0, -3.0]),
        **normalizer_original("action", [0.01, 0.02], [-1.0, 0.5]),
    }


def image_tensors(policy: Any) -> dict[str, torch.Tensor]:
    width = 3 + 64 + 64 + 1
    order = [0, 1, 2, width - 1, *range(3, width - 1)]
    return {
        **unet_original(policy, inverse(order, width)),
        **encoder_original(policy, "diffusion.rgb_encoder.0.", "wrist"),
        **encoder_original(policy, "diffusion.rgb_encoder.1.", "top"),
        **normalizer_original("eef", [1.0, 2.0, 4.0], [0.0, 1.0, 0.5]),
        **normalizer_original("grip", [25.0], [-1.0]),
        **normalizer_original("wrist", [2.0], [-1.0]),
        **normalizer_original("top", [2.0], [-1.0]),
        **normalizer_original("action", [0.01, 0.02], [-1.0, 0.5]),
    }


def assert_same_weights(found: Any, expected: Any) -> None:
    found, expected = found.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_tensor_of_the_policy_without_images_arrives(vectors, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", vector_config(), vector_tensors(vectors))
    converted = convert_diffusion(source, tmp_path / "out", state=range(1, 3))
    again = load_policy(tmp_path / "out", device="cpu")
    assert_same_weights(again, vectors)
    assert converted.features == {
        "observation.state": (2,),
        "observation.environment_state": (3,),
        "action": (2,),
    }
    assert "averaged" in converted.notes[0]


def test_every_tensor_of_the_policy_with_images_arrives(images, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", image_config(), image_tensors(images))
    convert_diffusion(source, tmp_path / "out")
    again = load_policy(tmp_path / "out", device="cpu")
    assert_same_weights(again, images)
    assert (again.config.crop, again.config.noise_scheduler_type, again.config.denoising_steps) == ((56, 80), "DDIM", 4)
    assert list(again.config.image_features) == ["observation.images.wrist", "observation.images.top"]


def test_values_are_normalised_as_by_the_original(images, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", image_config(), image_tensors(images))
    convert_diffusion(source, tmp_path / "out")
    units = load_policy(tmp_path / "out", device="cpu").normalization
    state = torch.tensor([0.3, -0.1, 7.0, 0.04])
    scale, offset = torch.tensor([1.0, 2.0, 4.0, 25.0]), torch.tensor([0.0, 1.0, 0.5, -1.0])
    torch.testing.assert_close(units.normalize("observation.state", state), state * scale + offset)
    image = torch.rand(3, 4, 5)
    torch.testing.assert_close(units.normalize("observation.images.top", image), image * 2 - 1)
    action = torch.tensor([0.5, -0.25])
    expected = (action - torch.tensor([-1.0, 0.5])) / torch.tensor([0.01, 0.02])
    torch.testing.assert_close(units.unnormalize("action", action), expected)


def test_entries_of_the_vector_are_normalised_where_they_go(vectors, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", vector_config(), vector_tensors(vectors))
    convert_diffusion(source, tmp_path / "out", state=range(1, 3))
    units = load_policy(tmp_path / "out", device="cpu").normalization
    ones = torch.ones(3)
    torch.testing.assert_close(units.normalize("observation.state", ones[:2]), torch.tensor([3.0, 0.75]))
    torch.testing.assert_close(units.normalize("observation.environment_state", ones), torch.tensor([2.0, 1.0, -2.0]))


def test_a_layer_of_unknown_meaning_in_an_image_encoder_is_refused(images, tmp_path):
    weights = {**image_tensors(images), "obs_encoder.obs_nets.top.nets.4.weight": torch.zeros(1)}
    source = write_workspace(tmp_path / "latest.ckpt", image_config(), weights)
    with pytest.raises(CheckpointError, match=r"unknown meaning, such as 'obs_encoder.obs_nets.top.nets.4.weight'"):
        convert_diffusion(source, tmp_path / "out")


def test_it_runs(vectors, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", vector_config(), vector_tensors(vectors))
    convert_diffusion(source, tmp_path / "out", state=range(1, 3))
    seen = {
        "observation.state": np.zeros((2, 2), np.float32),
        "observation.environment_state": np.zeros((2, 3), np.float32),
    }
    assert load_policy(tmp_path / "out", device="cpu").predict(seen).shape == (7, 2)


def test_without_averaging_the_weights_themselves_are_taken(vectors, tmp_path):
    config = vector_config()
    config["training"]["use_ema"] = False
    source = write_workspace(tmp_path / "latest.ckpt", config, vector_tensors(vectors))
    with pytest.raises(CheckpointError, match="scales other than 0"):  # the helper writes zeros there
        convert_diffusion(source, tmp_path / "out", state=range(1, 3))


def policy(**options: Any) -> Callable[[Config], None]:
    return lambda config: config["policy"].update(options)


def scheduler(**options: Any) -> Callable[[Config], None]:
    return lambda config: config["policy"].update(noise_scheduler={**config["policy"]["noise_scheduler"], **options})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (policy(_target_="x.DiffusionTransformerLowdimPolicy"), "expected DiffusionUnetHybridImagePolicy or"),
        (policy(_target_="x.DiffusionUnetImagePolicy"), "none such here"),
        (policy(obs_as_global_cond=False), "conditioned on observations globally"),
        (policy(obs_as_local_cond=True), "conditioned on observations globally"),
        (policy(pred_action_steps_only=True), "denoises the whole horizon"),
        (policy(oa_step_convention=False), "one step after the observation"),
        (policy(num_inference_steps=5), "expected all 10 with DDPM, got 5"),
        (policy(eta=0.5), "options that are not known here: eta"),
        (policy(horizon="${horizon}"), "configuration was resolved"),
        (policy(horizon=7), "horizon: expected a multiple of 4"),
        (policy(obs_dim="5"), "expected a whole number, got '5'"),
        (lambda config: config["policy"].pop("horizon"), "cfg.policy.horizon: expected a value"),
        (lambda config: config.pop("policy"), "cfg.policy: expected a section"),
        (scheduler(variance_type="learned"), "variance_type: expected 'fixed_small', got 'learned'"),
        (scheduler(_target_="x.EulerScheduler"), "expected DDPMScheduler or DDIMScheduler"),
        (scheduler(trained_betas=[1]), "not known here: trained_betas"),
        (policy(noise_scheduler={**DDIM, "prediction_type": "sample"}), "expected epsilon with DDIM"),
        (policy(noise_scheduler={**DDIM, "set_alpha_to_one": False}), "set_alpha_to_one: expected True"),
    ],
)
def test_what_ours_computes_otherwise_is_refused(vectors, tmp_path, change, match):
    config = copy.deepcopy(vector_config())
    change(config)
    source = write_workspace(tmp_path / "latest.ckpt", config, vector_tensors(vectors))
    with pytest.raises(CheckpointError, match=match):
        convert_diffusion(source, tmp_path / "out", state=range(1, 3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (policy(eval_fixed_crop=False), "crops at random when it runs"),
        (lambda config: config["policy"]["shape_meta"]["obs"].pop("wrist"), "tensors of unknown meaning"),
        (lambda c: c["policy"]["shape_meta"]["obs"].update(wrist={"shape": [3, 32, 32], "type": "rgb"}), "of one size"),
        (lambda c: c["policy"]["shape_meta"]["obs"].update(scan={"shape": [3], "type": "scan"}), "got 'scan'"),
        (lambda c: c["policy"]["shape_meta"].update(obs={"eef": {"shape": [3]}}), "of both at least one"),
    ],
)
def test_images_that_ours_sees_otherwise_are_refused(images, tmp_path, change, match):
    config = copy.deepcopy(image_config())
    change(config)
    source = write_workspace(tmp_path / "latest.ckpt", config, image_tensors(images))
    with pytest.raises(CheckpointError, match=match):
        convert_diffusion(source, tmp_path / "out")


@pytest.mark.parametrize("state", [None, range(0, 5), range(4, 6), range(2, 2)])
def test_which_entries_are_the_state_is_asked_for(vectors, tmp_path, state):
    source = write_workspace(tmp_path / "latest.ckpt", vector_config(), vector_tensors(vectors))
    with pytest.raises(ConfigurationError, match="--state: expected which of the 5 entries"):
        convert_diffusion(source, tmp_path / "out", state=state)


def test_with_images_the_configuration_says_what_the_state_is(images, tmp_path):
    source = write_workspace(tmp_path / "latest.ckpt", image_config(), image_tensors(images))
    with pytest.raises(ConfigurationError, match="--state: only for a policy without images"):
        convert_diffusion(source, tmp_path / "out", state=range(2))


def test_other_files_of_torch_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="expected a workspace .* got epoch"):
        convert_diffusion(tmp_path / "a.ckpt", tmp_path / "out")
    torch.save({"cfg": {"a": 1}, "state_dicts": {}}, tmp_path / "b.ckpt")
    with pytest.raises(CheckpointError, match="expected the weights 'model'"):
        convert_diffusion(tmp_path / "b.ckpt", tmp_path / "out")


def test_a_configuration_inside_itself_ends(tmp_path):
    config: dict[str, Any] = {}
    config["again"] = config
    torch.save({"cfg": config, "state_dicts": {"model": {}}}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="32 deep; got more"):
        convert_diffusion(tmp_path / "a.ckpt", tmp_path / "out")


def test_a_workspace_that_wants_to_run_something_does_not(vectors, tmp_path):
    config = {**vector_config(), "evil": Evil(tmp_path / "made")}
    source = write_workspace(tmp_path / "latest.ckpt", config, vector_tensors(vectors))
    with pytest.raises(CheckpointError, match=r"needs the code of \w+\.mkdir; code is never run here"):
        convert_diffusion(source, tmp_path / "out", state=range(1, 3))
    assert not (tmp_path / "made").exists()


def test_the_command_converts(vectors, tmp_path, capsys):
    source = write_workspace(tmp_path / "latest.ckpt", vector_config(), vector_tensors(vectors))
    assert main(["convert", "diffusion", str(source), "--state", "1:3", "--out", str(tmp_path / "out")]) == 0
    told: str = capsys.readouterr().out
    assert told.startswith(f"{tmp_path / 'out'}: diffusion, ")
    assert Path(tmp_path / "out" / "model.safetensors").exists()
