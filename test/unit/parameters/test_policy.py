# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.policy import load_policy_for
from policy_ros.parameters.schema import read

SMALL = (
    '{"chunk_size": 4, "n_action_steps": 4, "dim_model": 16, "n_heads": 2, "dim_feedforward": 16,'
    ' "n_encoder_layers": 1, "use_vae": false, "pretrained_backbone_weights": null}'
)
FRESH = {
    "policy.type": "act",
    "policy.allow_untrained": True,
    "policy.overrides": SMALL,
    "policy.device": "cpu",
    "joints.names": ["a", "b"],
    "cameras.top.shape": [3, 32, 32],
}


def load(**changes: object):
    return load_policy_for(read(NodeParameters, {**FRESH, **{k.replace("__", "."): v for k, v in changes.items()}}))


def observation() -> dict[str, np.ndarray]:
    return {"observation.state": np.zeros(2, np.float32), "observation.images.top": np.zeros((3, 32, 32), np.uint8)}


def test_fresh_weights_follow_their_seed():
    first, again, other = (load(policy__seed=seed).predict(observation()) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fresh_actions_lie_around_the_pose_that_is_given():
    policy = load(policy__untrained_mean=[1.0, -2.0], policy__untrained_std=[0.001, 0.001])
    assert np.allclose(policy.predict(observation()), [1.0, -2.0], atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy__allow_untrained": False}, "policy.path: expected a checkpoint directory or hub id, got nothing"),
        ({"policy__type": ""}, "policy.type: expected the name of a policy for fresh weights"),
        ({"policy__overrides": "{chunk"}, "policy.overrides: expected a JSON object, got '{chunk'"),
        ({"policy__overrides": "[1]"}, "policy.overrides: expected a JSON object, got '[1]'"),
        ({"cameras__top__shape": []}, "cameras.top.shape: fresh weights need C, H, W"),
        (
            {"policy__untrained_mean": [1.0]},
            "policy.untrained_mean: expected one value for each of 2 joints.names, got 1",
        ),
        ({"policy__path": "/nowhere"}, "policy.overrides: only for fresh weights"),
        (
            {"policy__path": "someone/something", "policy__overrides": "", "policy__roots": ["/models"]},
            "policy.path: expected a directory inside policy.roots (/models), got the hub id 'someone/something'",
        ),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigurationError) as error:
        load(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
