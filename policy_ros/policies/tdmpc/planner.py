# SPDX-License-Identifier: Apache-2.0
"""Planning in the world model: model predictive path integral control with the cross-entropy method.

Hansen et al. 2022, arXiv:2203.04955, algorithm 1, with trajectories valued as in Feng et al. 2023, arXiv:2310.16029,
equation 4. Each iteration draws trajectories of actions around a mean, values them in the world model, and moves
mean and spread to the best of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from policy_ros.policies.tdmpc.config import TDMPCConfig
from policy_ros.policies.tdmpc.draws import Draws
from policy_ros.policies.tdmpc.model import WorldModel


class Plan(NamedTuple):
    """What a call of the planner found.

    Attributes:
        actions: ``(T, B, A)``, one of the best trajectories, drawn by how good they are.
        mean: ``(T, B, A)``, that the next call may start from.
    """

    actions: Tensor
    mean: Tensor


class _Elites(NamedTuple):
    """The best trajectories of an iteration: actions ``(T, N, B, A)`` and their weights ``(N, B)``, which sum to 1."""

    actions: Tensor
    weights: Tensor


class Planner:
    """Searches trajectories of actions; keeps no state.

    Args:
        config: options.
        model: to search in.
    """

    def __init__(self, config: TDMPCConfig, model: WorldModel) -> None:
        self._config = config
        self._model = model

    @torch.no_grad()
    def plan(self, latent: Tensor, draws: Draws, previous: Tensor | None = None) -> Plan:
        """Plan from latents ``(B, latent_dim)``.

        Args:
            latent: of the observations.
            draws: random numbers.
            previous: the mean ``(T, B, A)`` of the plan one step ago, to start from; None: from zero.
        """
        config = self._config
        learned = self._follow_policy(latent, draws)
        samples = latent.expand(config.n_gaussian_samples + config.n_pi_samples, *latent.shape)
        mean = latent.new_zeros(config.horizon, latent.shape[0], config.action_dim)
        if previous is not None:
            mean[:-1] = previous[1:]
        std = torch.full_like(mean, config.max_std)
        for _ in range(config.cem_iterations):
            noise = draws.normal(config.horizon, config.n_gaussian_samples)
            drawn = (mean.unsqueeze(1) + std.unsqueeze(1) * noise).clamp(-1.0, 1.0)
            elites = self._best(samples, torch.cat([drawn, learned], dim=1), draws)
            found, std = self._fit(elites)
            mean = config.gaussian_mean_momentum * mean + (1.0 - config.gaussian_mean_momentum) * found
        chosen = draws.choice(elites.weights)
        return Plan(elites.actions[:, chosen, torch.arange(latent.shape[0], device=latent.device)], mean)

    def value(self, latent: Tensor, actions: Tensor, draws: Draws) -> Tensor:
        """What trajectories ``(T, N, B, A)`` from latents ``(N, B, latent_dim)`` are worth ``(N, B)``."""
        config, model = self._config, self._model
        total, discount = latent.new_zeros(latent.shape[:-1]), 1.0
        for action in actions:
            gain = model.reward(latent, action)
            if config.uncertainty_regularizer_coeff:
                gain = gain - config.uncertainty_regularizer_coeff * model.action_values(latent, action).std(0)
            latent = model.step(latent, action)
            total = total + discount * gain
            discount *= config.discount
        values = model.action_values(latent, self._explore(latent, draws))
        total = total + discount * self._smallest(values, draws)
        if config.uncertainty_regularizer_coeff:
            total = total - discount * config.uncertainty_regularizer_coeff * values.std(0)
        return total

    def _smallest(self, values: Tensor, draws: Draws) -> Tensor:
        """The smaller of two random estimates among ``(E, N, B)``, so that no single estimator is trusted."""
        if len(values) > 2:
            pair = draws.pair(len(values)).unsqueeze(1).expand(-1, values.shape[1], -1)
            values = values.gather(0, pair)
        return values.amin(0)

    def _follow_policy(self, latent: Tensor, draws: Draws) -> Tensor:
        """Trajectories ``(T, n_pi_samples, B, A)`` of the learned policy."""
        config = self._config
        latent = latent.expand(config.n_pi_samples, *latent.shape)
        actions = []
        for _ in range(config.horizon):
            actions.append(self._explore(latent, draws))
            latent = self._model.step(latent, actions[-1])
        return torch.stack(actions)

    def _explore(self, latent: Tensor, draws: Draws) -> Tensor:
        """The learned policy's actions for latents ``(N, B, latent_dim)``, with a little noise."""
        action = self._model.action(latent)
        if not self._config.min_std:  # LeRobot draws nothing then
            return action
        return action + draws.normal(latent.shape[0]) * self._config.min_std

    def _best(self, samples: Tensor, actions: Tensor, draws: Draws) -> _Elites:
        config = self._config
        value = self.value(samples, actions, draws).nan_to_num(0.0)
        best = torch.topk(value, config.n_elites, dim=0)
        index = best.indices[None, :, :, None].expand(config.horizon, -1, -1, config.action_dim)
        weights = torch.exp(config.elite_weighting_temperature * (best.values - best.values.amax(0)))
        return _Elites(actions.gather(1, index), weights / weights.sum(0))

    def _fit(self, elites: _Elites) -> tuple[Tensor, Tensor]:
        """Weighted mean and standard deviation ``(T, B, A)``, the latter within its bounds."""
        weights = elites.weights.unsqueeze(-1)
        mean = (weights * elites.actions).sum(1)
        variance = (weights * (elites.actions - mean.unsqueeze(1)).square()).sum(1)
        return mean, variance.sqrt().clamp(self._config.min_std, self._config.max_std)
