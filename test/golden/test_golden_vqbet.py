# SPDX-License-Identifier: Apache-2.0
"""VQ-BeT gives the numbers that LeRobot 0.6.1 gave for the same checkpoint, inputs and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy

TOLERANCE = 1e-4

CASES = ("vqbet",)


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
