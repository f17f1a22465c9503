# SPDX-License-Identifier: Apache-2.0
"""Policies that plan, and policies that answer with a single row, evaluated like any other."""

from __future__ import annotations

import pytest
import torch

from policy_ros.errors import ConfigurationError
from policy_ros.evaluation import EvaluationOptions, evaluate
from policy_ros.policies import make_policy

FEATURES = {
    "observation.state": {"type": "STATE", "shape": [4]},
    "observation.environment_state": {"type": "ENV", "shape": [4]},
}
MIDDLE, REACH = torch.tensor([0.5, -1.5, 1.0, 0.04]), torch.tensor([0.3, 0.3, 0.3, 0.02])
TINY = {
    "tdmpc": {
        "n_action_repeats": 1,
        "n_action_steps": 3,
        "latent_dim": 8,
        "mlp_dim": 16,
        "n_gaussian_samples": 24,
        "n_pi_samples": 4,
        "n_elites": 6,
    },
    "gaussian_actor": {"latent_dim": 8, "actor_network_kwargs": {"hidden_dims": [16]}},
}


def tiny(name: str, **changes):
    torch.manual_seed(0)
    options = {
        "input_features": FEATURES,
        "output_features": {"action": {"type": "ACTION", "shape": [4]}},
        "normalization_mapping": {"ACTION": "MIN_MAX"},
        **TINY[name],
        **changes,
    }
    return make_policy(
        name, options, statistics={"action": {"min": MIDDLE - REACH, "max": MIDDLE + REACH}}, device="cpu"
    )


@pytest.mark.parametrize("mode", ["", "sync"])
@pytest.mark.parametrize("name", TINY)
def test_an_episode_repeats_itself_in_any_company(name: str, mode: str):
    """What is drawn in an episode follows from its seed."""
    policy = tiny(name)
    together = evaluate(policy, EvaluationOptions(episodes=2, seed=20, mode=mode, time_limit_s=0.4))
    alone = evaluate(policy, EvaluationOptions(episodes=1, seed=21, mode=mode, time_limit_s=0.4))
    assert together.episodes[1] == alone.episodes[0]
    rows = policy.config.execution_rows
    assert all(episode.inferences >= episode.steps // rows for episode in together.episodes)


def test_repeated_actions_are_executed_as_often_as_the_checkpoint_says():
    result = evaluate(
        tiny("tdmpc", n_action_repeats=4, n_action_steps=1), EvaluationOptions(episodes=1, time_limit_s=0.4)
    )
    assert (result.episodes[0].steps, result.episodes[0].inferences) == (20, 5)


@pytest.mark.parametrize("mode", ["overlap", "rtc"])
def test_single_rows_in_another_mode_than_sync_are_refused(mode: str):
    with pytest.raises(ConfigurationError, match="use (mode )?sync"):
        evaluate(tiny("gaussian_actor"), EvaluationOptions(episodes=1, mode=mode))
