# SPDX-License-Identifier: Apache-2.0
"""Chunks of actions to codes and back: a residual VQ-VAE (Lee et al. 2024, arXiv:2403.03181, section 3.2).

chunk ─► encoder ─► residual quantiser ─► decoder ─► chunk
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.policies.nn.mlp import mlp
from policy_ros.policies.nn.residual_vq import ResidualQuantizer
from policy_ros.policies.vqbet.config import CODE_LAYERS, VQBeTConfig

_COMMITMENT_WEIGHT = 5.0


class Reconstruction(NamedTuple):
    """What training the tokenizer tells.

    Attributes:
        loss: scalar.
        error: mean absolute error of the decoded chunks.
        codes: ``(N, 2)``.
    """

    loss: Tensor
    error: Tensor
    codes: Tensor


class ActionTokenizer(nn.Module):
    """Learns, in the first phase of the training, two codes for each chunk of W rows.

    Args:
        config: options.

    Attributes:
        discretized: whether that phase is over.
        optimized_steps: training steps of that phase so far; like LeRobot's, no part of the state.
    """

    discretized: Tensor

    def __init__(self, config: VQBeTConfig) -> None:
        super().__init__()
        self._shape = (config.action_chunk_size, config.action_dim)
        self._phase_steps = config.n_vqvae_training_steps
        values, hidden, dim = (
            config.action_chunk_size * config.action_dim,
            config.vqvae_enc_hidden_dim,
            config.vqvae_embedding_dim,
        )
        self.register_buffer("discretized", torch.tensor(False))
        self.optimized_steps = 0
        self.vq_layer = ResidualQuantizer(dim, config.vqvae_n_embed, CODE_LAYERS)
        self.encoder = mlp(values, hidden, hidden, dim)
        self.decoder = mlp(dim, hidden, hidden, values)

    def reconstruct(self, chunks: Tensor) -> Reconstruction:
        """Encode and decode ``(N, W, A)``; in training the codebooks follow, and the step counts."""
        quantized = self.vq_layer(self.encoder(chunks.flatten(1)))
        error = (chunks.flatten(1) - self.decoder(quantized.vectors)).abs().mean()
        if self.training:
            self._count()
        return Reconstruction(error + _COMMITMENT_WEIGHT * quantized.commitment, error.detach(), quantized.codes)

    @torch.no_grad()
    def encode(self, chunks: Tensor) -> Tensor:
        """Codes ``(N, 2)`` of chunks ``(N, W, A)``."""
        codes: Tensor = self.vq_layer(self.encoder(chunks.flatten(1))).codes
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Chunks ``(N, W, A)`` that codes ``(N, 2)`` stand for."""
        chunks: Tensor = self.decoder(self.vq_layer.lookup(codes))
        return chunks.view(-1, *self._shape)

    def _count(self) -> None:
        self.optimized_steps += 1
        if self.optimized_steps >= self._phase_steps:
            self.discretized.fill_(True)
            self.vq_layer.freeze_codebook.fill_(True)
