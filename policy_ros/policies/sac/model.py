# SPDX-License-Identifier: Apache-2.0
"""The networks of the Gaussian actor (Haarnoja et al. 2018, arXiv:1801.01290, appendix C).

    images ─► convolutions ─► spatial embedding ─► linear ─┐
    environment ─► linear ─────────────────────────────────┼─► MLP ─► mean, spread ─► tanh of a Gaussian
    state ─► linear ───────────────────────────────────────┘   MLP ─► values of discrete actions

Parameter names are LeRobot's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.policies.nn.strided_conv import feature_map_size, strided_convolutions
from policy_ros.policies.sac.config import GaussianActorConfig

_DROPOUT = 0.1


class Gaussian(NamedTuple):
    """Of actions before they are squashed: mean and standard deviation, ``(B, A)`` each."""

    mean: Tensor
    deviation: Tensor


class SpatialEmbedding(nn.Module):
    """Pools each channel of a feature map to a few weighted sums over its cells.

    Args:
        channels: C.
        size: height and width.
        features: F, sums for each channel.
    """

    def __init__(self, channels: int, size: tuple[int, int], features: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(channels, *size, features))
        nn.init.kaiming_normal_(self.kernel, mode="fan_in", nonlinearity="linear")

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C F)``."""
        return torch.einsum("bchw,chwf->bcf", maps, self.kernel).flatten(1)


class ImageEncoder(nn.Module):
    """One for all cameras.

    Args:
        channels: of an image.
        width: of the feature map.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.image_enc_layers = strided_convolutions(channels, width)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to feature maps."""
        maps: Tensor = self.image_enc_layers(images)
        return maps


class ObservationEncoder(nn.Module):
    """An observation to one vector ``(B, out_features)``.

    Args:
        config: features and widths.
    """

    def __init__(self, config: GaussianActorConfig) -> None:
        super().__init__()
        self._images = {key: key.replace(".", "_") for key in config.image_features}
        latent = config.latent_dim
        vectors = [feature for feature in (config.environment_feature, config.state_feature) if feature is not None]
        self.out_features = (len(self._images) + len(vectors)) * latent
        if self._images:
            self._add_cameras(config)
        if config.environment_feature is not None:
            self.env_encoder = _projection(config.environment_feature.shape[0], latent)
        if config.state_feature is not None:
            self.state_encoder = _projection(config.state_feature.shape[0], latent)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Feature key to ``(B, *shape)``, normalised."""
        parts = []
        for key, name in self._images.items():
            maps = self.spatial_embeddings[name](self.image_encoder(observation[key]))
            parts.append(self.post_encoders[name](maps))
        if hasattr(self, "env_encoder"):
            parts.append(self.env_encoder(observation[OBSERVATION_ENVIRONMENT_STATE]))
        if hasattr(self, "state_encoder"):
            parts.append(self.state_encoder(observation[OBSERVATION_STATE]))
        return torch.cat(parts, dim=-1)

    def _add_cameras(self, config: GaussianActorConfig) -> None:
        channels, height, width = next(iter(config.image_features.values())).shape
        maps, pooled = config.image_encoder_hidden_dim, config.image_embedding_pooling_dim
        self.image_encoder = ImageEncoder(channels, maps)
        self.image_encoder.requires_grad_(not config.freeze_vision_encoder)
        self.spatial_embeddings = nn.ModuleDict()
        self.post_encoders = nn.ModuleDict()
        for name in self._images.values():
            self.spatial_embeddings[name] = SpatialEmbedding(maps, feature_map_size(height, width), pooled)
            self.post_encoders[name] = nn.Sequential(
                nn.Dropout(_DROPOUT), *_projection(maps * pooled, config.latent_dim)
            )


class MLP(nn.Module):
    """Linear layers, normalised and activated.

    Args:
        size: of the input.
        widths: of the layers.
        activate_final: normalise and activate after the last layer, too.
        final: name of its activation in ``torch.nn``, None for that of the others.
    """

    def __init__(self, size: int, widths: Sequence[int], *, activate_final: bool, final: str | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, width in enumerate(widths):
            last = index == len(widths) - 1
            layers.append(nn.Linear(size, width))
            if not last or activate_final:
                layers += [nn.LayerNorm(width), getattr(nn, final)() if last and final else nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers)
        self.out_features = size

    def forward(self, x: Tensor) -> Tensor:
        """``(B, size)`` to ``(B, out_features)``."""
        out: Tensor = self.net(x)
        return out


class Actor(nn.Module):
    """Observations to a Gaussian.

    Args:
        config: sizes.
        encoder: perhaps the critic's, too.
    """

    def __init__(self, config: GaussianActorConfig, encoder: ObservationEncoder) -> None:
        super().__init__()
        network, self._head = config.actor_network_kwargs, config.policy_kwargs
        self.encoder = encoder
        self.network = MLP(encoder.out_features, network.hidden_dims, activate_final=network.activate_final)
        self.mean_layer = nn.Linear(self.network.out_features, config.continuous_dim)
        self.std_layer = nn.Linear(self.network.out_features, config.continuous_dim)
        for layer in (self.mean_layer, self.std_layer):
            nn.init.uniform_(layer.weight, -self._head.init_final, self._head.init_final)
            nn.init.uniform_(layer.bias, -self._head.init_final, self._head.init_final)

    def forward(self, observation: Mapping[str, Tensor]) -> Gaussian:
        """Feature key to ``(B, *shape)``, normalised."""
        hidden = self.network(self.encoder(observation))
        # LeRobot hands what it calls the standard deviation to its Gaussian as the variance, and trains it as that.
        variance = self.std_layer(hidden).exp().clamp(self._head.std_min, self._head.std_max)
        return Gaussian(self.mean_layer(hidden), variance.sqrt())


class DiscreteCritic(nn.Module):
    """Observations to the value of each discrete action.

    Args:
        config: sizes.
        encoder: perhaps the actor's, too.
        actions: how many there are.
    """

    def __init__(self, config: GaussianActorConfig, encoder: ObservationEncoder, actions: int) -> None:
        super().__init__()
        network = config.discrete_critic_network_kwargs
        self.encoder = encoder
        self.net = MLP(
            encoder.out_features,
            network.hidden_dims,
            activate_final=network.activate_final,
            final=network.final_activation,
        )
        self.output_layer = nn.Linear(self.net.out_features, actions)
        nn.init.orthogonal_(self.output_layer.weight)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Feature key to ``(B, *shape)``, normalised, to ``(B, actions)``."""
        values: Tensor = self.output_layer(self.net(self.encoder(observation)))
        return values


def _projection(size: int, latent: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, latent), nn.LayerNorm(latent), nn.Tanh())
