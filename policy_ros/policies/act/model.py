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

from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.nn.observation_encoder import Inputs, ObservationEncoder, initialise
from policy_ros.policies.nn.position import sinusoidal_positions
from policy_ros.policies.nn.transformer import Decoder, Encoder


class Latent(NamedTuple):
    """Gaussian over the latent: mean and log of the variance, each ``(B, latent_dim)``."""

    mean: Tensor
    log_variance: Tensor


class ACT(ObservationEncoder):
    """Chunks of normalised actions from normalised inputs.

    Args:
        config: options; they must be valid together, which :class:`ACTConfig` checks.
    """

    vae_encoder_pos_enc: Tensor

    def __init__(self, config: ACTConfig) -> None:
        super().__init__(config, further_tokens=1)
        self.config = config
        dim, action_dim, state, shape = config.dim_model, config.action_dim, config.state_feature, config.layer_shape
        if config.use_vae:
            self.vae_encoder = Encoder(shape, config.n_vae_encoder_layers)
            self.vae_encoder_cls_embed = nn.Embedding(1, dim)
            if state is not None:
                self.vae_encoder_robot_state_input_proj = nn.Linear(state.shape[0], dim)
            self.vae_encoder_action_input_proj = nn.Linear(action_dim, dim)
            self.vae_encoder_latent_output_proj = nn.Linear(dim, config.latent_dim * 2)
            tokens = 1 + (state is not None) + config.chunk_size
            self.register_buffer("vae_encoder_pos_enc", sinusoidal_positions(tokens, dim).unsqueeze(0))
        self.decoder = Decoder(shape, config.n_decoder_layers)
        self.encoder_latent_input_proj = nn.Linear(config.latent_dim, dim)
        self.decoder_pos_embed = nn.Embedding(config.chunk_size, dim)
        self.action_head = nn.Linear(dim, action_dim)
        initialise(self.encoder, self.decoder)

    def forward(self, inputs: Inputs, latent: Tensor | None = None) -> Tensor:
        """Chunks ``(B, H, A)``; ``latent`` is ``(B, latent_dim)``, zero if None."""
        if latent is None:
            weight = self.encoder_latent_input_proj.weight
            latent = weight.new_zeros(inputs.batch_size, self.config.latent_dim)
        memory = self.encode(inputs, [self.encoder_latent_input_proj(latent)])
        queries = self.decoder_pos_embed.weight.unsqueeze(0)
        start = memory.tokens.new_zeros(inputs.batch_size, *queries.shape[1:])
        actions: Tensor = self.action_head(self.decoder(start, memory.tokens, queries, memory.positions))
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
