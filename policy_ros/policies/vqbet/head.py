# SPDX-License-Identifier: Apache-2.0
"""From what the transformer answers to chunks (Lee et al. 2024, arXiv:2403.03181, section 3.3).

answer ─┬─► logits of two codes ─► draw ─► codes ─► decoder ─► chunk ─┐
        └─► an offset for each code ─────────► of those ──────────────┴─► + ─► chunk
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy_ros.policies.nn.mlp import mlp
from policy_ros.policies.vqbet.config import CODE_LAYERS, VQBeTConfig
from policy_ros.policies.vqbet.sampling import draw_codes
from policy_ros.policies.vqbet.tokenizer import ActionTokenizer

_FOCUS = 2.0  # of the focal loss


class Choice(NamedTuple):
    """Codes that were drawn ``(N, 2)``, and the logits that they were drawn from ``(N, 2, C)``."""

    logits: Tensor
    codes: Tensor


class Chunks(NamedTuple):
    """Decoded codes, and the same with their offsets, both ``(N, W, A)``."""

    decoded: Tensor
    predicted: Tensor


class ActionHead(nn.Module):
    """Draws codes and answers chunks.

    Args:
        config: options.
    """

    def __init__(self, config: VQBeTConfig) -> None:
        super().__init__()
        self._config = config
        answer, codes = config.gpt_output_dim, config.vqvae_n_embed
        self.vqvae_model = ActionTokenizer(config)
        if config.sequentially_select:
            self.map_to_cbet_preds_primary_bin = mlp(answer, codes)
            self.map_to_cbet_preds_secondary_bin = mlp(answer + codes, codes)
        else:
            self.map_to_cbet_preds_bin = mlp(answer, CODE_LAYERS * codes)
        values = config.action_chunk_size * config.action_dim
        self.map_to_cbet_preds_offset = mlp(answer, CODE_LAYERS * codes * values)

    def choose(self, answers: Tensor, noise: Tensor | None = None) -> Choice:
        """Draw codes for answers ``(N, D)``, decided by ``noise`` ``(N, 2)`` or by torch's global generator."""
        temperature = self._config.bet_softmax_temperature
        if not self._config.sequentially_select:
            logits = self.map_to_cbet_preds_bin(answers).unflatten(1, (CODE_LAYERS, -1))
            return Choice(logits, draw_codes(logits, temperature, noise))
        first_noise, second_noise = (None, None) if noise is None else noise.unbind(1)
        first_logits = self.map_to_cbet_preds_primary_bin(answers)
        first = draw_codes(first_logits, temperature, first_noise)
        known = F.one_hot(first, self._config.vqvae_n_embed).to(answers.dtype)
        second_logits = self.map_to_cbet_preds_secondary_bin(torch.cat((answers, known), dim=1))
        second = draw_codes(second_logits, temperature, second_noise)
        return Choice(torch.stack((first_logits, second_logits), dim=1), torch.stack((first, second), dim=1))

    def chunks(self, answers: Tensor, codes: Tensor) -> Chunks:
        """What codes ``(N, 2)`` mean after answers ``(N, D)``."""
        decoded = self.vqvae_model.decode(codes)
        offsets = self.map_to_cbet_preds_offset(answers).unflatten(1, (CODE_LAYERS, self._config.vqvae_n_embed, -1))
        rows, layers = (torch.arange(count, device=codes.device) for count in codes.shape)
        offset = offsets[rows[:, None], layers, codes].sum(dim=1)  # (N, W * A)
        return Chunks(decoded, decoded + offset.view_as(decoded))

    def loss(self, answers: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Of answers ``(N, D)`` to which chunks ``(N, W, A)`` would have been right."""
        config = self._config
        logits, codes = self.choose(answers)
        decoded, predicted = self.chunks(answers, codes)
        right = self.vqvae_model.encode(target)
        offset_loss = F.l1_loss(predicted, target)
        first, second = (focal_loss(logits[:, layer], right[:, layer]) for layer in range(CODE_LAYERS))
        classification = first * config.primary_code_loss_weight + second * config.secondary_code_loss_weight
        error, hit = (target - predicted).detach().abs(), (right == codes).float().mean(0)
        parts = {
            "classification_loss": classification.detach(),
            "offset_loss": offset_loss.detach(),
            "equal_primary_code_rate": hit[0],
            "equal_secondary_code_rate": hit[1],
            "vq_action_error": (target - decoded).abs().mean(),
            "offset_action_error": error.mean(),
            "action_error_max": error.max(),
            "action_mse_error": error.square().mean(),
        }
        values = torch.stack([value.float() for value in parts.values()]).tolist()  # one wait for the device
        return classification + config.offset_loss_weight * offset_loss, dict(zip(parts, values, strict=True))


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy that looks away from what is known already (Lin et al. 2017, arXiv:1708.02002).

    Args:
        logits: ``(N, C)``.
        target: ``(N,)``, the right codes.
    """
    log_probability = logits.log_softmax(dim=-1).gather(-1, target[:, None]).squeeze(-1)
    return -((1 - log_probability.exp()) ** _FOCUS * log_probability).mean()
