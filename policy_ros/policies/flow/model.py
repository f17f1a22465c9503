# SPDX-License-Identifier: Apache-2.0
"""The network of the flow-matching policy: the velocity of a chunk on its way from noise to actions.

observation ─► encoder ─► memory ──────────┐
noisy rows ─► linear ─┐                    ▼
                      ├─► rows (H, D) ─► decoder ─► action head ─► velocity (B, H, A)
flow time ─► MLP ─────┘
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from policy_ros.policies.flow.config import FlowConfig
from policy_ros.policies.nn.observation_encoder import Memory, ObservationEncoder, initialise
from policy_ros.policies.nn.transformer import Decoder

_SHORTEST_PERIOD, _LONGEST_PERIOD = 4e-3, 4.0  # of the sines that encode flow time, which runs from 0 to 1


class FlowNetwork(ObservationEncoder):
    """Velocities of normalised chunks.

    Args:
        config: options.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__(config)
        dim = config.dim_model
        self.action_in_proj = nn.Linear(config.action_dim, dim)
        self.time_mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.row_pos_embed = nn.Embedding(config.chunk_size, dim)
        self.decoder = Decoder(config.layer_shape, config.n_decoder_layers)
        self.action_head = nn.Linear(dim, config.action_dim)
        initialise(self.encoder, self.decoder)

    def velocity(self, noisy: Tensor, tau: Tensor, memory: Memory) -> Tensor:
        """Velocity ``(B, H, A)`` of a chunk.

        Args:
            noisy: ``(B, H, A)``.
            tau: ``(B,)`` flow time, 0 for noise and 1 for actions.
            memory: of the observation, from :meth:`encode`.
        """
        time = self.time_mlp(encode_time(tau, self.row_pos_embed.embedding_dim))
        rows = self.action_in_proj(noisy) + time.unsqueeze(1)
        at = self.row_pos_embed.weight.unsqueeze(0)
        velocity: Tensor = self.action_head(self.decoder(rows, memory.tokens, at, memory.positions))
        return velocity


def encode_time(tau: Tensor, dim: int) -> Tensor:
    """Sines and cosines ``(B, dim)`` of flow times ``(B,)``, periods spread geometrically."""
    fraction = torch.linspace(0.0, 1.0, dim // 2, device=tau.device, dtype=tau.dtype)
    period = _SHORTEST_PERIOD * (_LONGEST_PERIOD / _SHORTEST_PERIOD) ** fraction
    angle = 2.0 * math.pi * tau[:, None] / period
    return torch.cat((angle.sin(), angle.cos()), dim=-1)
