# SPDX-License-Identifier: Apache-2.0
"""Diffusion gives the numbers that LeRobot 0.6.1 gave for the same checkpoint and inputs."""

from __future__ import annotations

import pytest

from policy_ros.policies import load_policy

TOLERANCE = 1e-4  # normalised
SELECT_TOLERANCE = 2e-3  # robot units

CASES = ("diffusion_two_cameras", "diffusion_shared_encoder_env")


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_reference(golden_case, name):
    case = golden_case(name)
    policy = load_policy(case.directory, device="cpu")
    differences = case.largest_differences(policy)
    assert set(differences) == {"select", "select_normalized"}
    assert differences["select_normalized"] <= TOLERANCE, differences
    assert differences["select"] <= SELECT_TOLERANCE, differences
