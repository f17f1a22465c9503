# SPDX-License-Identifier: Apache-2.0
"""The world model of TD-MPC, task-oriented latent dynamics (Hansen et al. 2022, arXiv:2203.04955, section 4).

    image, environment, state ─► encoders ─► mean ─► z ─┬─► dynamics (with an action) ─► next z
                                                        ├─► reward (with an action)
                                                        ├─► Q, several estimators (with an action)
                                                        ├─► V
                                                        └─► pi ─► action

Parameter names are LeRobot's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.policies.nn.strided_conv import feature_map_size, strided_convolutions
from policy_ros.policies.tdmpc.config import TDMPCConfig


class ObservationEncoder(nn.Module):
    """Each kind of observation to a latent in 0 to 1; their mean stands for all of them.

    Args:
        config: features and widths.
    """

    def __init__(self, config: TDMPCConfig) -> None:
        super().__init__()
        self._image_key = next(iter(config.image_features), None)
        latent = config.latent_dim
        if self._image_key is not None:
            channels, height, width = config.image_features[self._image_key].shape
            rows, columns = feature_map_size(height, width)
            self.image_enc_layers = strided_convolutions(channels, config.image_encoder_hidden_dim)
            flat = config.image_encoder_hidden_dim * rows * columns
            self.image_enc_layers.extend([nn.Flatten(), nn.Linear(flat, latent), nn.LayerNorm(latent), nn.Sigmoid()])
        if config.state_feature is not None:
            self.state_enc_layers = _vector_encoder(config.state_feature.shape[0], config)
        if config.environment_feature is not None:
            self.env_state_enc_layers = _vector_encoder(config.environment_feature.shape[0], config)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Feature key to ``(*, *shape)``, normalised, to latents ``(*, latent_dim)``."""
        latents = []
        if self._image_key is not None:
            image = observation[self._image_key]
            encoded = self.image_enc_layers(image.reshape(-1, *image.shape[-3:]))
            latents.append(encoded.reshape(*image.shape[:-3], -1))
        if hasattr(self, "env_state_enc_layers"):
            latents.append(self.env_state_enc_layers(observation[OBSERVATION_ENVIRONMENT_STATE]))
        if hasattr(self, "state_enc_layers"):
            latents.append(self.state_enc_layers(observation[OBSERVATION_STATE]))
        return torch.stack(latents).mean(0)


class WorldModel(nn.Module):
    """What follows an action: the next latent, the reward, and what the future is worth.

    Args:
        config: features and widths.
    """

    def __init__(self, config: TDMPCConfig) -> None:
        super().__init__()
        latent, action, width = config.latent_dim, config.action_dim, config.mlp_dim
        self._encoder = ObservationEncoder(config)
        self._dynamics = _mish_mlp(latent + action, width, latent)
        self._dynamics.extend([nn.LayerNorm(latent), nn.Sigmoid()])
        self._reward = _mish_mlp(latent + action, width, 1)
        self._pi = _mish_mlp(latent, width, action)
        self._Qs = nn.ModuleList(_value_mlp(latent + action, width) for _ in range(config.q_ensemble_size))
        self._V = _value_mlp(latent, width)
        self._initialise()

    def encode(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Latents ``(*, latent_dim)`` of normalised observations."""
        latents: Tensor = self._encoder(observation)
        return latents

    def step(self, latent: Tensor, action: Tensor) -> Tensor:
        """The latents ``(*, latent_dim)`` after actions ``(*, A)``."""
        following: Tensor = self._dynamics(torch.cat([latent, action], dim=-1))
        return following

    def reward(self, latent: Tensor, action: Tensor) -> Tensor:
        """``(*,)`` of actions ``(*, A)``."""
        reward: Tensor = self._reward(torch.cat([latent, action], dim=-1)).squeeze(-1)
        return reward

    def action(self, latent: Tensor) -> Tensor:
        """What the learned policy does ``(*, A)``, in -1 to 1."""
        return torch.tanh(self._pi(latent))

    def state_value(self, latent: Tensor) -> Tensor:
        """V ``(*,)``."""
        value: Tensor = self._V(latent).squeeze(-1)
        return value

    def action_values(self, latent: Tensor, action: Tensor) -> Tensor:
        """Q ``(E, *)`` of each estimator."""
        joined = torch.cat([latent, action], dim=-1)
        return torch.stack([estimator(joined).squeeze(-1) for estimator in self._Qs])

    def _initialise(self) -> None:
        """Orthogonal matrices, no biases; rewards and action values begin at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                gain = nn.init.calculate_gain("relu") if isinstance(module, nn.Conv2d) else 1.0
                nn.init.orthogonal_(module.weight, gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (self._reward, *self._Qs):
            assert isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear)
            nn.init.zeros_(head[-1].weight)


@torch.no_grad()
def follow(target: nn.Module, model: nn.Module, momentum: float) -> None:
    """Move weights of ``target`` toward those of ``model``: ``target <- momentum target + (1 - momentum) model``."""
    for slow, fast in zip(target.parameters(), model.parameters(), strict=True):
        slow.mul_(momentum).add_(fast, alpha=1.0 - momentum)


def _vector_encoder(size: int, config: TDMPCConfig) -> nn.Sequential:
    width, latent = config.state_encoder_hidden_dim, config.latent_dim
    return nn.Sequential(nn.Linear(size, width), nn.ELU(), nn.Linear(width, latent), nn.LayerNorm(latent), nn.Sigmoid())


def _mish_mlp(size: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(size, width), nn.LayerNorm(width), nn.Mish()),
        *(nn.Linear(width, width), nn.LayerNorm(width), nn.Mish()),
        nn.Linear(width, out),
    )


def _value_mlp(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(size, width), nn.LayerNorm(width), nn.Tanh()),
        *(nn.Linear(width, width), nn.ELU()),
        nn.Linear(width, 1),
    )
