# SPDX-License-Identifier: Apache-2.0
"""Rollouts during a training: the same episodes every time, shared by the devices, and the policy left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torchmetrics", reason="needs the extra 'train'")

import torch

from policy_ros.errors import ConfigurationError
from policy_ros.evaluation import EvaluationOptions
from policy_ros.parameters.files import read_parameters
from policy_ros.policies import make_policy
from policy_ros.training.loading import Shard
from policy_ros.training.rollouts import FIRST_SEED, Rollouts

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = read_parameters(ROOT / "config" / "sim.yaml")


@pytest.fixture
def policy():
    torch.manual_seed(0)
    features = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 16, 16]} for name in ("top", "wrist")}
    sizes = {"dim_model": 16, "n_heads": 2, "dim_feedforward": 16, "n_encoder_layers": 1, "use_vae": False}
    return make_policy(
        "act",
        {
            "input_features": {"observation.state": {"type": "STATE", "shape": [4]}, **features},
            "output_features": {"action": {"type": "ACTION", "shape": [4]}},
            "backbone_width": 8,
            "backbone_stages": 1,
            "backbone_norm": "group_norm",
            "chunk_size": 100,
            "n_action_steps": 100,
            **sizes,
        },
        device="cpu",
    )


def test_a_policy_that_knows_nothing_fails_and_is_trained_on(policy):
    policy.train()
    rollouts = Rollouts("policy_ros/Pick-v0", 1, PARAMETERS, Shard())
    rollouts.check(policy)
    assert rollouts.success_rate(policy) == 0.0
    assert policy.training
    assert all(parameter.requires_grad for parameter in policy.parameters())


def test_a_policy_that_does_not_fit_is_refused_before_the_training(policy):
    with pytest.raises(ConfigurationError, match="Nowhere-v0"):
        Rollouts("policy_ros/Nowhere-v0", 1, PARAMETERS, Shard()).check(policy)


def test_devices_share_the_episodes(policy, monkeypatch: pytest.MonkeyPatch):
    asked: list[EvaluationOptions] = []

    class Result:
        success_rate = 0.5

    def evaluate(_, options):
        asked.append(options)
        return Result

    monkeypatch.setattr("policy_ros.training.rollouts.evaluate", evaluate)
    for part in range(3):
        Rollouts("policy_ros/Pick-v0", 5, PARAMETERS, Shard(part, 3)).success_rate(policy)
    seeds = [seed for options in asked for seed in range(options.seed, options.seed + options.episodes)]
    assert seeds == list(range(FIRST_SEED, FIRST_SEED + 5))
    assert all(options.parameters is PARAMETERS for options in asked)
