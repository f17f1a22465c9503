# SPDX-License-Identifier: Apache-2.0
"""ACT as a policy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.act.model import ACT
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.ensembling import TemporalEnsembler
from policy_ros.policies.nn.observation_encoder import Inputs
from policy_ros.policies.normalization import Normalization


class ACTPolicy(Policy):
    """Action chunking transformer (Zhao et al. 2023, arXiv:2304.13705)."""

    name = "act"
    config_class = ACTConfig
    computed_buffers = frozenset({"model.vae_encoder_pos_enc"})
    config: ACTConfig

    def __init__(self, config: ACTConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.model = ACT(config)
        if config.temporal_ensemble_coeff is not None:
            self.ensembler = TemporalEnsembler(config.temporal_ensemble_coeff, config.chunk_size)

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``, normalised, with the latent at its prior mean of zero."""
        chunks: Tensor = self.model(Inputs.of(batch, self.config))
        return chunks

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """L1 distance to the demonstrated rows, and in training the latent's KL divergence from its prior."""
        inputs, target, padding = Inputs.of(batch, self.config), batch[ACTION], batch[ACTION_IS_PAD]
        latent = None
        if self.config.use_vae and self.training:
            latent = self.model.encode_actions(inputs.state, target, padding)
            sample = latent.mean + (latent.log_variance / 2).exp() * torch.randn_like(latent.mean)
        predicted = self.model(inputs, None if latent is None else sample)
        valid = ~padding.unsqueeze(-1)
        error = F.l1_loss(predicted, target, reduction="none") * valid
        l1 = error.sum() / (valid.sum() * target.shape[-1]).clamp_min(1)
        if latent is None:
            return l1, {"l1_loss": l1.item()}
        divergence = -0.5 * (1 + latent.log_variance - latent.mean.pow(2) - latent.log_variance.exp())
        kld = divergence.sum(-1).mean()
        return l1 + self.config.kl_weight * kld, {"l1_loss": l1.item(), "kld_loss": kld.item()}
