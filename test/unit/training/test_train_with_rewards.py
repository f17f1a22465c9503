# SPDX-License-Identifier: Apache-2.0
"""Policies that learn from more, or from less, than chunks: TD-MPC and the Gaussian actor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra 'train'")

import torch
from support.synthetic_data import SyntheticData, options

from policy_ros.errors import TrainingError
from policy_ros.policies import load_policy, make_policy
from policy_ros.training.checkpoints import TrainingDirectory
from policy_ros.training.metrics import read_metrics
from policy_ros.training.run import train
from policy_ros.training.seeding import Stage, seed_generators

TINY_TDMPC = {"horizon": 3, "n_action_repeats": 1, "use_mpc": False, "latent_dim": 8, "mlp_dim": 16}
TINY_ACTOR = {"latent_dim": 16, "actor_network_kwargs": {"hidden_dims": [16]}}


class RewardedData(SyntheticData):
    """Stretches of episodes in which standing still would have earned most."""

    def statistics(self, config, relative) -> dict[str, dict[str, torch.Tensor]]:
        return {"action": {"min": torch.full((2,), -4.0), "max": torch.full((2,), 4.0)}}

    def _sample(self, index: int, config) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        steps = config.horizon
        actions = torch.randn(steps, 2, generator=generator)
        return {
            "observation.state": torch.randn(steps + 1, 2, generator=generator),
            "observation.environment_state": torch.randn(steps + 1, 3, generator=generator),
            "action": actions,
            "next.reward": -actions.norm(dim=-1),
            "action_is_pad": torch.zeros(steps, dtype=torch.bool),
            "next.reward_is_pad": torch.zeros(steps, dtype=torch.bool),
            "observation.state_is_pad": torch.zeros(steps + 1, dtype=torch.bool),
        }


class SingleActions(SyntheticData):
    """The usual rule, in ranges."""

    def statistics(self, config, relative) -> dict[str, dict[str, torch.Tensor]]:
        sizes = {"observation.state": 2, "observation.environment_state": 3, "action": 2}
        return {key: {"min": torch.full((size,), -4.0), "max": torch.full((size,), 4.0)} for key, size in sizes.items()}


def run(out: Path, data: SyntheticData, policy: str, overrides: dict, **changes):
    given = options(policy=policy, overrides=overrides, **changes)
    return train(given, out, lambda each: data)


def losses(out: Path, name: str, kind: str = "training") -> list[float]:
    return [row[name] for row in read_metrics(out / "training" / "metrics.jsonl", kind)]


def test_tdmpc_learns_where_samples_have_rewards_and_its_target_follows(tmp_path: Path):
    data = RewardedData(0, training=64)
    run(tmp_path, data, "tdmpc", TINY_TDMPC, steps=60, batch_size=16, lr=3e-3, val_every=30, save_every=30)
    rewards = losses(tmp_path, "reward_loss")
    assert sum(rewards[-10:]) < 0.5 * sum(rewards[:10])
    state = TrainingDirectory(tmp_path).load_state()
    assert "average" not in state or state["average"] is None, "no average of weights beside the target network"
    policy, fresh = load_policy(tmp_path, device="cpu"), untrained(tmp_path)
    moved, followed = (distance(fresh.model, network) for network in (policy.model, policy.model_target))
    assert 0.0 < followed < 0.5 * moved


def untrained(out: Path) -> torch.nn.Module:
    """What the training in ``out`` began with."""
    record = json.loads((out / "training.json").read_text())
    seed_generators(record["options"]["seed"], Stage.WEIGHTS)
    return make_policy(record["policy"]["type"], record["policy"]["config"], device="cpu")


def distance(one: torch.nn.Module, other: torch.nn.Module) -> float:
    squares = [(a - b).square().sum() for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    return torch.stack(squares).sum().sqrt().item()


def test_a_resumed_training_of_tdmpc_is_what_it_would_have_been(tmp_path: Path):
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    for out in (whole, halved):
        run(out, RewardedData(0), "tdmpc", TINY_TDMPC, steps=8, save_every=4, lr=3e-3)
    sorted((halved / "training").glob("state-*.ckpt"))[-1].unlink()
    train(None, halved, lambda each: RewardedData(0))
    weights = [load_policy(out, device="cpu").state_dict() for out in (whole, halved)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_tdmpc_without_rewards_ends_with_the_reason(tmp_path: Path):
    class Unrewarded(RewardedData):
        def _sample(self, index: int, config) -> dict[str, torch.Tensor]:
            sample = super()._sample(index, config)
            del sample["next.reward"]
            return sample

    with pytest.raises(TrainingError, match="which learns from rewards"):
        run(tmp_path, Unrewarded(0), "tdmpc", TINY_TDMPC)


def test_the_gaussian_actor_learns_from_single_actions(tmp_path: Path):
    data = SingleActions(0, training=300)
    run(tmp_path, data, "gaussian_actor", TINY_ACTOR, steps=150, batch_size=16, lr=5e-3, val_every=50, save_every=100)
    policy = load_policy(tmp_path, device="cpu")
    assert policy.config.chunk_size == 1
    assert losses(tmp_path, "l1_of_the_middle")[-1] < 0.1
    environment = torch.tensor([1.0, -0.5, 0.0]).numpy()
    seen = {"observation.state": torch.tensor([10.0, 10.0]).numpy(), "observation.environment_state": environment}
    middle = policy.predict_batch([seen] * 200).mean(axis=(0, 1))
    assert abs(middle - environment[:2]).max() < 0.4
