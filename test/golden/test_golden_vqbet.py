# SPDX-License-Identifier: Apache-2.0
"""VQ-BeT gives the numbers that LeRobot 0.6.1 gave for the same checkpoint, inputs and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy

TOLERANCE = 1e-4

CASES = ("vqbet", "vqbet_sequential_group_norm", "vqbet_one_observation")


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_reference(golden_case, name):
    case = golden_case(name)
    differences = case.largest_differences(load_policy(case.directory, device="cpu"))
    assert set(differences) == {"select", "select_normalized"}
    assert max(differences.values()) <= TOLERANCE, differences


@pytest.mark.parametrize("name", CASES)
def test_public_methods_equal_the_reference(golden_case, name):
    case = golden_case(name)
    policy = load_policy(str(case.directory), device="cpu")
    policy.reset()
    for step in range(case.steps):
        torch.manual_seed(1000 + step)
        action = policy.select_action(case.observation(step))
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, case.outputs(step)["select"][0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_a_saved_copy_gives_the_same_numbers(golden_case, name, tmp_path):
    case = golden_case(name)
    load_policy(case.directory, device="cpu").save_pretrained(tmp_path / "copy")
    differences = case.largest_differences(load_policy(tmp_path / "copy", device="cpu"))
    assert max(differences.values()) <= TOLERANCE, differences


def test_the_losses_of_both_phases_equal_the_reference(golden_case):
    # LeRobot 0.6.1 on these weights and this batch, one call after the other; the first phase is of two steps.
    case = golden_case("vqbet_sequential_group_norm")
    policy = load_policy(case.directory, device="cpu").train()
    policy.tokenizer.discretized.fill_(False)
    policy.tokenizer.vq_layer.freeze_codebook.fill_(False)
    random = np.random.RandomState(7)
    batch = {
        "observation.state": random.standard_normal((2, 2, 4)),
        "observation.image": random.random_sample((2, 2, 3, 33, 40)),
        "action": random.standard_normal((2, 7, 3)),
    }
    batch = {key: torch.tensor(value, dtype=torch.float32) for key, value in batch.items()}
    losses, parts = [], {}
    for seed in range(3):
        torch.manual_seed(seed)
        loss, parts[seed] = policy(batch)
        losses.append(loss.item())
    assert losses == pytest.approx([228.15599060058594, 153.25546264648438, 870.8553466796875], rel=1e-5)
    assert parts[0] == pytest.approx(
        {"n_different_codes": 9, "n_different_combinations": 8, "recon_l1_error": 1.8108046054840088}, rel=1e-5
    )
    assert parts[1] == pytest.approx(
        {"n_different_codes": 8, "n_different_combinations": 6, "recon_l1_error": 4.243912220001221}, rel=1e-5
    )
    assert parts[2] == pytest.approx(
        {
            "classification_loss": 36.8050422668457,
            "offset_loss": 8.340502738952637,
            "equal_primary_code_rate": 0.0,
            "equal_secondary_code_rate": 0.1,
            "vq_action_error": 6.99780797958374,
            "offset_action_error": 8.340502738952637,
            "action_error_max": 37.821678161621094,
            "action_mse_error": 128.41998291015625,
        },
        rel=1e-5,
    )
