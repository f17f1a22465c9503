# SPDX-License-Identifier: Apache-2.0
"""Diffusion gives the numbers that LeRobot 0.6.1 gave for the same checkpoint, inputs and noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy

TOLERANCE = 1e-4  # normalised
SELECT_TOLERANCE = 2e-3  # robot units

CASES = (
    "diffusion_two_cameras",
    "diffusion_shared_encoder_env",
    "diffusion_ddpm_resized",  # one observation, adds noise in each of 12 of 50 timesteps, replans
    "diffusion_compiled_env",  # the U-Net's parameters have the names of a compiled module
    "diffusion_unclipped",
)


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_reference(golden_case, name):
    case = golden_case(name)
    differences = case.largest_differences(load_policy(case.directory, device="cpu"))
    assert set(differences) == {"select", "select_normalized"}
    assert differences["select_normalized"] <= TOLERANCE, differences
    assert differences["select"] <= SELECT_TOLERANCE, differences


@pytest.mark.parametrize("name", CASES)
def test_a_saved_copy_has_the_same_configuration_and_gives_the_same_numbers(golden_case, name, tmp_path):
    case = golden_case(name)
    load_policy(case.directory, device="cpu").save_pretrained(tmp_path / "copy")
    written = json.loads((tmp_path / "copy" / "config.json").read_text())
    original = json.loads((case.directory / "config.json").read_text())
    assert {key: original[key] for key in written} == written
    differences = case.largest_differences(load_policy(tmp_path / "copy", device="cpu"))
    assert max(differences.values()) <= TOLERANCE, differences


@pytest.mark.parametrize("name", CASES)
def test_a_chunk_holds_what_is_selected_until_the_next_one(golden_case, name):
    """Row 0 is of the time of the observation, which at the first step stands for all before it."""
    case = golden_case(name)
    policy = load_policy(case.directory, device="cpu")
    history, first = policy.config.n_obs_steps, case.observation(0)
    if history > 1:
        first = {key: np.stack([value] * history) for key, value in first.items()}
    torch.manual_seed(1000)
    chunk = policy.predict(first, noise=case.noise)
    assert chunk.shape == (policy.config.horizon - history + 1, policy.config.action_dim)
    for step in range(min(case.steps, policy.config.n_action_steps)):
        np.testing.assert_allclose(chunk[step], case.outputs(step)["select"][0], atol=SELECT_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("name", "mask", "training", "evaluation"),
    [
        ("diffusion_two_cameras", False, 3.1366827487945557, 2.2598695755004883),
        ("diffusion_two_cameras", True, 2.9446017742156982, 2.1106746196746826),
        ("diffusion_shared_encoder_env", False, 1.6091564893722534, 1.6091564893722534),
        ("diffusion_shared_encoder_env", True, 1.5764715671539307, 1.5764715671539307),
    ],
)
def test_the_loss_equals_the_reference(golden_case, name, mask, training, evaluation):
    """LeRobot 0.6.1 on these weights and this batch, with seed 3 for crops, noise and timesteps."""
    case = golden_case(name)
    file = case.directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_mask_loss_for_padding": mask}))
    policy = load_policy(case.directory, device="cpu")
    config, random, batch = policy.config, np.random.RandomState(7), {}
    for key, spec in config.input_features.items():
        size = (2, config.n_obs_steps, *spec.shape)
        image = len(spec.shape) == 3
        values = random.randint(0, 256, size).astype(np.uint8) if image else random.standard_normal(size)
        batch[key] = torch.from_numpy(values if image else values.astype(np.float32))
    batch["action"] = torch.from_numpy(random.standard_normal((2, config.horizon, config.action_dim))).float()
    batch["action_is_pad"] = torch.zeros(2, config.horizon, dtype=torch.bool)
    batch["action_is_pad"][1, -4:] = True
    for mode, expected in ((True, training), (False, evaluation)):
        torch.manual_seed(3)
        loss, parts = policy.train(mode)(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert parts == {"mse_loss": loss.item()}
