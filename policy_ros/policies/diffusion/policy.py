# SPDX-License-Identifier: Apache-2.0
"""Diffusion as a policy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.diffusion.config import DiffusionConfig
from policy_ros.policies.diffusion.denoising import Denoiser, draw
from policy_ros.policies.diffusion.model import DiffusionNetwork
from policy_ros.policies.guidance import Target
from policy_ros.policies.normalization import Normalization


class DiffusionPolicy(Policy):
    """Learns to tell noise from demonstrated rows and takes it away step by step (Chi et al. 2023, arXiv:2303.04137).

    The horizon begins at the oldest observation. What a chunk has of it begins at the newest, as in LeRobot.
    """

    name = "diffusion"
    config_class = DiffusionConfig
    config: DiffusionConfig
    alpha_bars: Tensor

    def __init__(self, config: DiffusionConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.diffusion = DiffusionNetwork(config)
        self._denoiser = Denoiser(config)
        self.register_buffer("alpha_bars", self._denoiser.alpha_bars, persistent=False)

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``, normalised.

        Args:
            batch: as for every policy.
            noise: ``(B, horizon, A)`` to start from, what DDPM adds on the way is then drawn; or all of it,
                ``(B, *noise_shape)``; or None.
        """
        return self._denoise(batch, noise, None)

    def infer_guided(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target) -> Tensor:
        """As :meth:`infer`, the estimate of clean rows bent toward the target in each step."""
        past = self._past
        aligned = Target(F.pad(target.prefix, (0, 0, past, 0)), F.pad(target.weights, (past, 0)), target.options)
        return self._denoise(batch, noise, aligned)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of the noise, or of clean rows, at random timesteps.

        Args:
            batch: ``action`` is ``(B, horizon, A)``, its first row of the time of the oldest observation.
        """
        config, clean = self.config, batch[ACTION]
        if clean.shape[1] != config.horizon:
            raise ConfigurationError(
                f"action: expected {config.horizon} rows (horizon) of the oldest observation on, got {clean.shape[1]}"
            )
        condition = self.diffusion.condition(self._with_time(batch))
        noise = torch.randn(clean.shape, device=clean.device)
        timestep = torch.randint(0, config.num_train_timesteps, clean.shape[:1], device=clean.device)
        alpha_bar = self.alpha_bars[timestep][:, None, None]
        noisy = alpha_bar.sqrt() * clean + (1.0 - alpha_bar).sqrt() * noise
        predicted = self.diffusion(noisy, timestep, condition)
        error = (predicted - (noise if config.prediction_type == "epsilon" else clean)).square()
        if config.do_mask_loss_for_padding:
            valid = ~batch[ACTION_IS_PAD].unsqueeze(-1)
            mean = (error * valid).sum() / (valid.sum() * clean.shape[-1]).clamp_min(1)
        else:
            mean = error.mean()
        return mean, {"mse_loss": mean.item()}

    @property
    def _past(self) -> int:
        """Rows of the horizon before the newest observation."""
        return self.config.n_obs_steps - 1

    def _denoise(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target | None) -> Tensor:
        condition = self.diffusion.condition(self._with_time(batch))

        def network(x: Tensor, timestep: int) -> Tensor:
            at = torch.full(x.shape[:1], timestep, dtype=torch.long, device=x.device)
            out: Tensor = self.diffusion(x, at, condition)
            return out

        count, config = len(condition), self.config
        shape = (count, config.horizon, config.action_dim)
        rows = self._denoiser.denoise(network, draw(shape, self._given(noise, count), self.device), target)
        return rows[:, self._past :]

    def _given(self, noise: Tensor | None, count: int) -> Tensor | None:
        """``(N, B, horizon, A)`` with N from 1 to the number of steps."""
        if noise is None:
            return None
        start = (count, self.config.horizon, self.config.action_dim)
        everything = (count, *self.config.noise_shape)
        if noise.shape == start:
            return noise.unsqueeze(0)
        if noise.shape == everything:
            return noise.transpose(0, 1)
        raise ConfigurationError(f"noise: expected shape {start} or {everything}, got {tuple(noise.shape)}")

    def _with_time(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs ``(B, T, *shape)`` also where T is 1."""
        keys = self.config.observed_features
        return {key: batch[key].unsqueeze(1) if self.config.n_obs_steps == 1 else batch[key] for key in keys}
