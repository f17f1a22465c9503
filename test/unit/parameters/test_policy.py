# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.policy import load_policy_for, warm_up
from policy_ros.parameters.schema import read
from policy_ros.policies.base import Policy

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

DIFFUSION_ADVICE = "it denoises in 100 steps: set num_inference_steps"  # as that of a policy that has such options


def load(**changes: object):
    return load_policy_for(read(NodeParameters, {**FRESH, **{k.replace("__", "."): v for k, v in changes.items()}}))


def observation() -> dict[str, np.ndarray]:
    return {"observation.state": np.zeros(2, np.float32), "observation.images.top": np.zeros((3, 32, 32), np.uint8)}


def test_fresh_weights_follow_their_seed():
    first, again, other = (load(policy__seed=seed).predict(observation()) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_policy_that_does_not_fit_is_refused_before_its_warm_up_which_may_take_minutes(monkeypatch):
    monkeypatch.setattr(Policy, "warmup", lambda policy: pytest.fail("warmed up"))
    with pytest.raises(ConfigurationError, match="execution.mode rtc: expected a policy that can be guided"):
        load(execution__mode="rtc")


@pytest.mark.parametrize(
    ("first_s", "said"),
    [
        (0.9, ""),  # as slow as anything that is cold
        (2.0, "took 2.0 s for its first inference on cpu, its 4 rows last 0.08 s: expect the robot to wait between"),
        (
            11.0,
            "execution.inference_timeout_s=10 s to count as hung; it denoises in 100 steps: set num_inference_steps",
        ),
    ],
)
def test_what_is_too_slow_for_the_robot_is_told_when_it_warms_up(monkeypatch, caplog, first_s: float, said: str):
    policy = load()
    monkeypatch.setattr(policy, "warmup", lambda: first_s)
    monkeypatch.setattr(type(policy.config), "speed_advice", DIFFUSION_ADVICE)
    warm_up(read(NodeParameters, FRESH), policy)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(said) and all(said in line for line in warnings), warnings


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
