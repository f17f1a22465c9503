# SPDX-License-Identifier: Apache-2.0
"""VQ-BeT as a policy."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError
from policy_ros.policies.base import Policy
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.vqbet.config import CODE_LAYERS, VQBeTConfig
from policy_ros.policies.vqbet.model import Inputs, VQBeT
from policy_ros.policies.vqbet.tokenizer import ActionTokenizer

_log = logging.getLogger(__name__)


class VQBeTPolicy(Policy):
    """Behaviour generation with latent actions (Lee et al. 2024, arXiv:2403.03181).

    It trains in two phases: first what codes of chunks mean, then when to choose which.
    """

    name = "vqbet"
    config_class = VQBeTConfig
    config: VQBeTConfig

    def __init__(self, config: VQBeTConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.vqbet = VQBeT(config)
        self._known_to_be_trained = False

    @property
    def tokenizer(self) -> ActionTokenizer:
        """What learns in the first phase."""
        return self.vqbet.action_head.vqvae_model

    @property
    def training_phase(self) -> int:
        """0 while codes are learnt, then 1."""
        return int(self.tokenizer.discretized)

    def resume_training(self, steps: int) -> None:
        """The first phase goes on where it was."""
        self.tokenizer.optimized_steps = steps

    def parameter_options(self, name: str) -> dict[str, float]:
        """The tokenizer has a learning rate of its own; of the transformer only matrices decay."""
        if ".vqvae_model." in name:
            return {
                "lr": self.config.optimizer_vqvae_lr,
                "weight_decay": self.config.optimizer_vqvae_weight_decay,
            }
        undecayed = name.endswith(".bias") or ".ln_" in name or ".wpe." in name
        return {"weight_decay": 0.0} if name.startswith("vqbet.policy.") and undecayed else {}

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``, normalised; ``noise`` ``(B, 2)`` decides which codes are drawn."""
        self._warn_untrained()
        inputs = Inputs.of(batch, self.config)
        shape = (len(inputs.states), CODE_LAYERS)
        if noise is not None and noise.shape != shape:
            raise ConfigurationError(f"noise: expected shape {shape}, got {tuple(noise.shape)}")
        return self.vqbet.chunks(inputs, noise)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Of the codes' reconstruction in the first phase, then of codes and offsets.

        As in LeRobot, rows of padding, which repeat the first or last row of the episode, are learnt like any other.
        """
        if self.training_phase:
            return self.vqbet.loss(Inputs.of(batch, self.config), batch[ACTION])
        windows = batch[ACTION].unfold(1, self.config.action_chunk_size, 1)  # (B, N - W + 1, A, W)
        found = self.tokenizer.reconstruct(windows.transpose(2, 3).transpose(0, 1).flatten(0, 1))
        return found.loss, {
            "n_different_codes": float(sum(len(torch.unique(codes)) for codes in found.codes.unbind(1))),
            "n_different_combinations": float(len(torch.unique(found.codes, dim=0))),
            "recon_l1_error": found.error.item(),
        }

    def _warn_untrained(self) -> None:
        """Once: without codes that mean something, actions mean nothing."""
        if self._known_to_be_trained:
            return
        self._known_to_be_trained = True
        if not self.training_phase:
            _log.warning(
                "this VQ-BeT never finished the first phase of its training (n_vqvae_training_steps=%d), which learns "
                "what its codes mean: its actions are arbitrary",
                self.config.n_vqvae_training_steps,
            )
