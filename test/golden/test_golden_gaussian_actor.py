# SPDX-License-Identifier: Apache-2.0
"""The Gaussian actor gives the numbers that LeRobot 0.6.1 gave for the same checkpoint, inputs and seeds."""

from __future__ import annotations

import json

import pytest
import torch

from policy_ros.policies import load_policy
from policy_ros.policies.sac.model import Gaussian
from policy_ros.policies.sac.squashed import log_likelihood

TOLERANCE = 1e-4

CASES = ("gaussian_actor", "gaussian_actor_two_cameras", "gaussian_actor_discrete")


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_reference(golden_case, name):
    case = golden_case(name)
    differences = case.largest_differences(load_policy(case.directory, device="cpu"))
    assert set(differences) == {"select", "select_normalized"}
    assert max(differences.values()) <= TOLERANCE, differences


@pytest.mark.parametrize("name", CASES)
def test_a_saved_copy_gives_the_same_numbers(golden_case, name, tmp_path):
    case = golden_case(name)
    load_policy(case.directory, device="cpu").save_pretrained(tmp_path / "copy")
    differences = case.largest_differences(load_policy(tmp_path / "copy", device="cpu"))
    assert max(differences.values()) <= TOLERANCE, differences


def test_a_checkpoint_of_the_older_name_gives_the_same_numbers(golden_case):
    case = golden_case("gaussian_actor")
    file = case.directory / "config.json"
    config = {**json.loads(file.read_text()), "type": "sac", "critic_lr": 3e-4, "use_torch_compile": True}
    file.write_text(json.dumps(config))
    differences = case.largest_differences(load_policy(case.directory, device="cpu"))
    assert max(differences.values()) <= TOLERANCE, differences


def test_the_likelihood_equals_the_reference():
    # LeRobot 0.6.1's TanhMultivariateNormalDiag(mean, variance).log_prob(action)
    mean, variance = torch.tensor([[0.3, -1.2, 0.0]]), torch.tensor([[0.5, 1.5, 0.01]])
    action = torch.tensor([[0.4, -0.9, 0.05]])
    assert log_likelihood(Gaussian(mean, variance.sqrt()), action).item() == pytest.approx(1.3620, abs=1e-4)
