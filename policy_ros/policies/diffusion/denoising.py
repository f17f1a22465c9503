# SPDX-License-Identifier: Apache-2.0
"""From noise to rows, step by step, freely or guided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from policy_ros.policies.diffusion.config import DiffusionConfig
from policy_ros.policies.guidance import Target
from policy_ros.policies.nn.noise_schedule import DenoisingStep, alpha_bars, denoising_steps
from policy_ros.rtc import guided_clean_sample

Network = Callable[[Tensor, int], Tensor]  # noisy rows (B, horizon, A) and timestep to noise or clean rows


class Estimate(NamedTuple):
    """What noisy rows are taken to be made of."""

    clean: Tensor
    noise: Tensor


class Denoiser:
    """The steps of one configuration.

    Args:
        config: options.

    Attributes:
        alpha_bars: ``(T,)`` float32 on the CPU.
        steps: from noise to clean.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        self.alpha_bars = alpha_bars(
            config.beta_schedule, config.num_train_timesteps, config.beta_start, config.beta_end
        )
        self.steps = denoising_steps(self.alpha_bars, config.denoising_steps)
        self._adds_noise = config.noise_scheduler_type == "DDPM"
        self._tells_noise = config.prediction_type == "epsilon"
        self._clip = config.clip_sample_range if config.clip_sample else None

    def denoise(self, network: Network, noise: Iterator[Tensor], target: Target | None = None) -> Tensor:
        """Normalised rows ``(B, horizon, A)``.

        Args:
            network: of the observation.
            noise: what to start from, then what each step but the last adds; ``(B, horizon, A)`` each.
            target: to be guided toward, aligned with row 0 of the horizon.
        """
        x = next(noise)
        for step in self.steps:
            estimate = self.estimate(network, x, step, target)
            if self._adds_noise:
                x = step.ddpm(x, estimate.clean, None if step.is_last else next(noise))
            else:
                x = step.ddim(estimate.clean, estimate.noise)
        return x

    def estimate(self, network: Network, x: Tensor, step: DenoisingStep, target: Target | None = None) -> Estimate:
        """What the network takes ``x`` ``(B, horizon, A)`` for at a step.

        Guided, the clean rows are bent toward the target and the noise stays as the network tells it (Song et al.
        2023, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", algorithm 1).
        """
        if target is None:
            return self._split(network(x, step.timestep), x, step)
        free: list[Estimate] = []

        def clean(at: Tensor) -> Tensor:
            free.append(self._split(network(at, step.timestep), at, step))
            return free[-1].clean

        options = target.options
        bent = guided_clean_sample(
            clean, x, float(step.alpha_bar), target.prefix, target.weights, options.max_weight, options.jacobian
        )
        return Estimate(self._clipped(bent), free[0].noise.detach())

    def _split(self, output: Tensor, x: Tensor, step: DenoisingStep) -> Estimate:
        if self._tells_noise:
            return Estimate(self._clipped(step.clean(x, output)), output)
        return Estimate(self._clipped(output), step.noise(x, output))

    def _clipped(self, clean: Tensor) -> Tensor:
        return clean if self._clip is None else clean.clamp(-self._clip, self._clip)


def draw(shape: tuple[int, ...], given: Tensor | None, device: torch.device) -> Iterator[Tensor]:
    """Standard normal noise without end, from torch's generator where ``given`` ``(N, *shape)`` does not reach."""
    if given is not None:
        yield from given
    while True:
        yield torch.randn(shape, device=device)
