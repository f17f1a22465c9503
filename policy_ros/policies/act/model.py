# SPDX-License-Identifier: Apache-2.0
"""The network of ACT (Zhao et al. 2023, arXiv:2304.13705, figure 4 and appendix C).

    actions ─► VAE encoder ─► latent ─┐                        (training only; at inference the latent is zero)
    state ──► linear ─────────────────┤
    environment ──► linear ───────────┼─► encoder ─► memory ─► decoder ─► action head ─► (B, H, A)
    images ─► ResNet ─► 1x1 conv ─────┘                           ▲
                                                        H learned queries

Parameter names are LeRobot's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.nn.position import sinusoidal_positions, sinusoidal_positions_2d
from policy_ros.policies.nn.resnet import ResNet
from policy_ros.policies.nn.transformer import Decoder, Encoder, LayerShape


class Inputs(NamedTuple):
    """What the network sees, in its own units.

    Attributes:
        images: one ``(B, 3, H, W)`` per camera.
        state: ``(B, n)`` or None.
        environment: ``(B, n)`` or None.
    """

    images: Sequence[Tensor]
    state: Tensor | None
    environment: Tensor | None

    @property
    def batch_size(self) -> int:
        """B."""
        return next(x for x in (*self.images, self.environment, self.state) if x is not None).shape[0]


class Latent(NamedTuple):
    """Gaussian over the latent: mean and log of the variance, each ``(B, latent_dim)``."""

    mean: Tensor
    log_variance: Tensor


class ACT(nn.Module):
    """Chunks of normalised actions from normalised inputs.

    Args:
        config: options; they must be valid together, which :class:`ACTConfig` checks.
    """

    vae_encoder_pos_enc: Tensor

    def __init__(self, config: ACTConfig) -> None:
        super().__init__()
        self.config = config
        dim, action_dim = config.dim_model, config.action_dim
        state, environment = config.state_feature, config.environment_feature
        shape = LayerShape(
            dim=dim,
            heads=config.n_heads,
            feedforward=config.dim_feedforward,
            dropout=config.dropout,
            activation=config.feedforward_activation,
            pre_norm=config.pre_norm,
        )
        if config.use_vae:
            self.vae_encoder = Encoder(shape, config.n_vae_encoder_layers)
            self.vae_encoder_cls_embed = nn.Embedding(1, dim)
            if state is not None:
                self.vae_encoder_robot_state_input_proj = nn.Linear(state.shape[0], dim)
            self.vae_encoder_action_input_proj = nn.Linear(action_dim, dim)
            self.vae_encoder_latent_output_proj = nn.Linear(dim, config.latent_dim * 2)
            tokens = 1 + (state is not None) + config.chunk_size
            self.register_buffer("vae_encoder_pos_enc", sinusoidal_positions(tokens, dim).unsqueeze(0))
        if config.image_features:
            self.backbone = ResNet(config.vision_backbone, dilate_last_stage=config.replace_final_stride_with_dilation)
            self.encoder_img_feat_input_proj = nn.Conv2d(self.backbone.out_channels, dim, kernel_size=1)
        self.encoder = Encoder(shape, config.n_encoder_layers)
        self.decoder = Decoder(shape, config.n_decoder_layers)
        if state is not None:
            self.encoder_robot_state_input_proj = nn.Linear(state.shape[0], dim)
        if environment is not None:
            self.encoder_env_state_input_proj = nn.Linear(environment.shape[0], dim)
        self.encoder_latent_input_proj = nn.Linear(config.latent_dim, dim)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + (state is not None) + (environment is not None), dim)
        self.decoder_pos_embed = nn.Embedding(config.chunk_size, dim)
        self.action_head = nn.Linear(dim, action_dim)
        for parameter in chain(self.encoder.parameters(), self.decoder.parameters()):
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, inputs: Inputs, latent: Tensor | None = None) -> Tensor:
        """Chunks ``(B, H, A)``; ``latent`` is ``(B, latent_dim)``, zero if None."""
        tokens, positions = self._tokens(inputs, latent)
        memory = self.encoder(tokens, positions)
        queries = self.decoder_pos_embed.weight.unsqueeze(0)
        start = torch.zeros(inputs.batch_size, *queries.shape[1:], dtype=tokens.dtype, device=tokens.device)
        actions: Tensor = self.action_head(self.decoder(start, memory, queries, positions))
        return actions

    def encode_actions(self, state: Tensor | None, actions: Tensor, padding: Tensor) -> Latent:
        """The latent that stands for demonstrated chunks.

        Args:
            state: ``(B, n)``, or None for a policy without it.
            actions: ``(B, H, A)``, normalised.
            padding: ``(B, H)``, true for rows past the end of the episode.
        """
        batch = actions.shape[0]
        tokens = [self.vae_encoder_cls_embed.weight.expand(batch, 1, -1)]
        if state is not None:
            tokens.append(self.vae_encoder_robot_state_input_proj(state).unsqueeze(1))
        never_padding = padding.new_zeros(batch, len(tokens))
        tokens.append(self.vae_encoder_action_input_proj(actions))
        encoded = self.vae_encoder(
            torch.cat(tokens, dim=1), self.vae_encoder_pos_enc, torch.cat((never_padding, padding), dim=1)
        )
        return Latent(*self.vae_encoder_latent_output_proj(encoded[:, 0]).chunk(2, dim=-1))

    def _tokens(self, inputs: Inputs, latent: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encoder input ``(B, S, D)`` and its positions ``(1, S, D)``: latent, state, environment, then image cells."""
        weight = self.encoder_latent_input_proj.weight
        if latent is None:
            latent = weight.new_zeros(inputs.batch_size, self.config.latent_dim)
        vectors = [self.encoder_latent_input_proj(latent)]
        if inputs.state is not None:
            vectors.append(self.encoder_robot_state_input_proj(inputs.state))
        if inputs.environment is not None:
            vectors.append(self.encoder_env_state_input_proj(inputs.environment))
        tokens = [torch.stack(vectors, dim=1)]
        positions = [self.encoder_1d_feature_pos_embed.weight]
        for image in inputs.images:
            # One camera at a time: convolutions over a batch of cameras round differently, by up to 2e-4 in an action.
            features = self.backbone(image)
            height, width = features.shape[-2:]
            cells = sinusoidal_positions_2d(height, width, self.config.dim_model, features.device)
            tokens.append(self.encoder_img_feat_input_proj(features).flatten(2).transpose(1, 2))
            positions.append(cells.flatten(1).T.to(features.dtype))
        return torch.cat(tokens, dim=1), torch.cat(positions).unsqueeze(0)
