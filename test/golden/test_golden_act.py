# SPDX-License-Identifier: Apache-2.0
"""ACT gives the numbers that LeRobot 0.6.1 gave for the same checkpoint and inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy

TOLERANCE = 1e-4

KINDS = {
    "act_two_cameras": {"chunk", "chunk_normalized", "select", "select_normalized"},
    "act_env_state_prenorm": {"chunk", "chunk_normalized", "select", "select_normalized"},
    "act_legacy_statistics": {"chunk", "chunk_normalized", "select", "select_normalized"},
    "act_ensemble": {"select", "select_normalized"},
}


@pytest.mark.parametrize("name", KINDS)
def test_outputs_equal_the_reference(golden_case, name):
    case = golden_case(name)
    policy = load_policy(case.directory, device="cpu")
    differences = case.largest_differences(policy)
    assert set(differences) == KINDS[name]
    assert max(differences.values()) <= TOLERANCE, differences


@pytest.mark.parametrize("name", KINDS)
def test_public_methods_equal_the_reference(golden_case, name):
    case = golden_case(name)
    policy = load_policy(str(case.directory), device="cpu")
    policy.reset()
    for step in range(case.steps):
        action = policy.select_action(case.observation(step))
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, case.outputs(step)["select"][0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_copy_gives_the_same_numbers(golden_case, name, tmp_path):
    case = golden_case(name)
    load_policy(case.directory, device="cpu").save_pretrained(tmp_path / "copy")
    differences = case.largest_differences(load_policy(tmp_path / "copy", device="cpu"))
    assert max(differences.values()) <= TOLERANCE, differences


def test_the_loss_equals_the_reference(golden_case):
    # LeRobot 0.6.1 on these weights and this batch, without dropout; training draws the latent with seed 3.
    case = golden_case("act_env_state_prenorm")
    config = case.directory / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dropout": 0.0}))
    policy = load_policy(case.directory, device="cpu")
    random = np.random.RandomState(7)
    sizes = {"observation.state": (2, 5), "observation.environment_state": (2, 9), "action": (2, 12, 5)}
    batch = {key: torch.from_numpy(random.standard_normal(size).astype(np.float32)) for key, size in sizes.items()}
    batch["action_is_pad"] = torch.zeros(2, 12, dtype=torch.bool)
    batch["action_is_pad"][1, -4:] = True
    assert policy.eval()(batch)[1] == pytest.approx({"l1_loss": 2.3294293880462646}, rel=1e-5)
    torch.manual_seed(3)
    loss, parts = policy.train()(batch)
    assert parts == pytest.approx({"l1_loss": 1.7952454090118408, "kld_loss": 16.970624923706055}, rel=1e-5)
    assert loss.item() == pytest.approx(171.50149536132812, rel=1e-5)
