# SPDX-License-Identifier: Apache-2.0
"""What the world model learns from (Feng et al. 2023, arXiv:2310.16029, section 3.1).

The model is rolled out over T recorded actions from the first observation. Shapes have time first here: latents
``(T + 1, B, latent_dim)``, all else ``(T, B)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from policy_ros.policies.tdmpc.config import TDMPCConfig
from policy_ros.policies.tdmpc.model import WorldModel

_MAX_ADVANTAGE_WEIGHT = 100.0


class Recorded(NamedTuple):
    """Stretches of episodes, normalised, time first.

    Attributes:
        observations: feature key to ``(T + 1, B, *shape)``.
        actions: ``(T, B, A)``.
        rewards: ``(T, B)``.
        valid: ``(T, B)``; the first observation and the action belong to the episode.
        rewarded: ``(T, B)``; the reward does.
        followed: ``(T, B)``; the next observation does.
    """

    observations: Mapping[str, Tensor]
    actions: Tensor
    rewards: Tensor
    valid: Tensor
    rewarded: Tensor
    followed: Tensor


def world_model_loss(
    config: TDMPCConfig, model: WorldModel, target: WorldModel, recorded: Recorded
) -> tuple[Tensor, dict[str, float]]:
    """The loss and its parts, which have LeRobot's names."""
    first = {key: value[0] for key, value in recorded.observations.items()}
    following = {key: value[1:] for key, value in recorded.observations.items()}
    actions = recorded.actions
    latents, rewards = _roll_out(model, model.encode(first), actions)
    before, after = latents[:-1], latents[1:]
    action_values, values = model.action_values(before, actions), model.state_value(before)
    with torch.no_grad():
        latent_targets = target.encode(following)
        value_targets = recorded.rewards + config.discount * model.state_value(model.encode(following))
        expected_values = _smaller_of_two(target.action_values(before, actions))
    decay = config.temporal_decay_coeff ** torch.arange(len(actions), device=actions.device).unsqueeze(-1)

    def summed(error: Tensor, *masks: Tensor) -> Tensor:
        """Over time, decaying; the mean of the batch."""
        for mask in masks:
            error = error * mask
        return (decay * error).sum(0).mean()

    consistency = summed((after - latent_targets).square().mean(-1), recorded.valid, recorded.followed)
    reward = summed((rewards - recorded.rewards).square(), recorded.valid, recorded.rewarded)
    action_value_error = (action_values - value_targets).square().sum(0)
    action_value = summed(action_value_error, recorded.valid, recorded.rewarded, recorded.followed)
    value = summed(_expectile(expected_values - values, config.expectile_weight), recorded.valid)
    pi = (decay * _regression(config, model, target, before.detach(), actions) * recorded.valid).mean()
    loss = (
        config.consistency_coeff * consistency
        + config.reward_coeff * reward
        + config.value_coeff * action_value
        + config.value_coeff * value
        + config.pi_coeff * pi
    )
    parts = {
        "consistency_loss": consistency,
        "reward_loss": reward,
        "Q_value_loss": action_value,
        "V_value_loss": value,
        "pi_loss": pi,
        "Q": action_values.mean(),
        "V": values.mean(),
    }
    return loss, {name: part.item() for name, part in parts.items()}


def _roll_out(model: WorldModel, latent: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Latents ``(T + 1, B, latent_dim)`` and rewards ``(T, B)`` along actions ``(T, B, A)``."""
    latents, rewards = [latent], []
    for action in actions:
        rewards.append(model.reward(latents[-1], action))
        latents.append(model.step(latents[-1], action))
    return torch.stack(latents), torch.stack(rewards)


def _regression(config: TDMPCConfig, model: WorldModel, target: WorldModel, latents: Tensor, actions: Tensor) -> Tensor:
    """Squared distance ``(T, B)`` of the policy to the recorded actions, weighed by how good those turned out."""
    with torch.no_grad():
        advantage = _smaller_of_two(target.action_values(latents, actions)) - model.state_value(latents)
        weight = (advantage * config.advantage_scaling).exp().clamp_max(_MAX_ADVANTAGE_WEIGHT)
    distance: Tensor = F.mse_loss(model.action(latents), actions, reduction="none").sum(-1)
    return weight * distance


def _expectile(difference: Tensor, weight: float) -> Tensor:
    """Squared differences, those above zero times ``weight``, others times the rest."""
    return torch.where(difference > 0, weight, 1.0 - weight) * difference.square()


def _smaller_of_two(values: Tensor) -> Tensor:
    """The smaller of two random estimates among ``(E, *)``; numpy draws, as in LeRobot, and training seeds it."""
    if len(values) > 2:
        values = values[np.random.choice(len(values), size=2)]  # noqa: NPY002
    return values.amin(0)
