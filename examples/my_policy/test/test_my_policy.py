# SPDX-License-Identifier: Apache-2.0
"""What every policy should be asked: does it learn, and does its checkpoint come back as it was?"""

import numpy as np
import torch

from policy_ros.policies import load_policy, make_policy

CAMERA = "observation.images.front"
OPTIONS = {
    "input_features": {
        "observation.state": {"type": "STATE", "shape": [3]},
        CAMERA: {"type": "VISUAL", "shape": [3, 48, 64]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [3]}},
    "chunk_size": 8,
    "n_action_steps": 8,
    "width": 16,
}


def test_it_learns_a_chunk_by_heart():
    torch.manual_seed(0)
    policy = make_policy("my_policy", OPTIONS, device="cpu")
    batch = {"observation.state": torch.rand(4, 3), CAMERA: torch.rand(4, 3, 48, 64), "action": torch.rand(4, 8, 3)}
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    first = policy(batch)[0].item()
    for _ in range(100):
        optimizer.zero_grad()
        policy(batch)[0].backward()
        optimizer.step()
    assert policy(batch)[0].item() < first / 5


def test_a_saved_policy_comes_back_by_name(tmp_path):
    policy = make_policy("my_policy", OPTIONS, device="cpu")
    policy.save_pretrained(tmp_path)
    observation = {"observation.state": np.zeros(3, np.float32), CAMERA: np.zeros((3, 90, 120), np.uint8)}
    loaded = load_policy(tmp_path, device="cpu")
    assert type(loaded).__name__ == "MyPolicy"
    np.testing.assert_array_equal(loaded.predict(observation), policy.predict(observation))
