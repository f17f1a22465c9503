# SPDX-License-Identifier: Apache-2.0
"""TD-MPC gives the numbers that LeRobot 0.6.1 gave for the same checkpoint, inputs and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy

TOLERANCE = 1e-4

CASES = ("tdmpc", "tdmpc_image_repeats", "tdmpc_mpc")


@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_the_reference(golden_case, name):
    """The plans of ``tdmpc_mpc`` each go on from the one before."""
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


def test_the_loss_equals_the_reference(golden_case):
    # LeRobot 0.6.1 on these weights and this batch, with both generators seeded with 3 and images shifted.
    policy = load_policy(golden_case("tdmpc_image_repeats").directory, device="cpu").train()
    random, size, horizon = np.random.RandomState(7), 2, 5
    batch = {
        "observation.image": random.rand(size, horizon + 1, 3, 64, 64),
        "observation.state": random.standard_normal((size, horizon + 1, 3)),
        "action": random.uniform(-1, 1, (size, horizon, 2)),
        "next.reward": random.standard_normal((size, horizon)),
    }
    batch = {key: torch.from_numpy(value.astype(np.float32)) for key, value in batch.items()}
    for key, length in (("action", horizon), ("next.reward", horizon), ("observation.state", horizon + 1)):
        batch[f"{key}_is_pad"] = torch.zeros(size, length, dtype=torch.bool)
        batch[f"{key}_is_pad"][1, -2:] = True
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    loss, parts = policy(batch)
    assert loss.item() == pytest.approx(15.460479736328125, rel=1e-5)
    assert parts == pytest.approx(
        {
            "Q": 1.1213260889053345,
            "V": 2.2784082889556885,
            "consistency_loss": 0.13851763308048248,
            "reward_loss": 8.934516906738281,
            "Q_value_loss": 78.0632553100586,
            "V_value_loss": 3.986063003540039,
            "pi_loss": 0.0358746275305748,
        },
        rel=1e-4,
    )
