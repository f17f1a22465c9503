# SPDX-License-Identifier: Apache-2.0
"""How much of a diffusion's sample is noise at each step, and the two ways back to a clean one.

A sample at alpha_bar ``a`` is ``x = sqrt(a) clean + sqrt(1 - a) noise``: 1 is clean, 0 is noise (Ho et al. 2020,
arXiv:2006.11239, equation 4). Numbers are those of DDPMScheduler and DDIMScheduler of diffusers 0.39 with their
defaults, as LeRobot uses them: leading spacing, ``fixed_small`` variance, eta 0, and 1 behind the last step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from policy_ros.errors import ConfigurationError

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"]

_MAX_BETA = 0.999
_SIGMOID_ENDS = 6.0
_LEAST_VARIANCE = 1e-20


@dataclass(frozen=True, eq=False)
class DenoisingStep:
    """One step from noise to clean.

    Coefficients are computed in float32, as in diffusers: where betas are small, ``1 - alpha_bar`` has few digits left,
    and a policy's actions depend on which.

    Attributes:
        timestep: what the network is told, counted from 0 for the least noise.
        alpha_bar: of the sample before the step; a float32 scalar on the CPU.
        next_alpha_bar: of the sample after it, larger; 1 after the last step.
    """

    timestep: int
    alpha_bar: Tensor
    next_alpha_bar: Tensor

    @property
    def is_last(self) -> bool:
        """Whether a clean sample follows."""
        return self.timestep == 0

    def clean(self, x: Tensor, noise: Tensor) -> Tensor:
        """The clean sample, where ``noise`` is that in ``x``."""
        return (x - (1.0 - self.alpha_bar).sqrt() * noise) / self.alpha_bar.sqrt()

    def noise(self, x: Tensor, clean: Tensor) -> Tensor:
        """The noise, where ``clean`` is the sample behind ``x``."""
        return (x - self.alpha_bar.sqrt() * clean) / (1.0 - self.alpha_bar).sqrt()

    def ddim(self, clean: Tensor, noise: Tensor) -> Tensor:
        """The sample after a deterministic step (Song et al. 2020, arXiv:2010.02502, equation 12 with sigma 0)."""
        return self.next_alpha_bar.sqrt() * clean + (1.0 - self.next_alpha_bar).sqrt() * noise

    def ddpm(self, x: Tensor, clean: Tensor, fresh: Tensor | None) -> Tensor:
        """The sample after a random step (Ho et al. 2020, equations 6 and 7).

        Args:
            x: sample before the step.
            clean: estimate of the clean sample behind it.
            fresh: standard normal noise to add, None for the last step.
        """
        before, after = self.alpha_bar, self.next_alpha_bar
        alpha = before / after
        to_clean = after.sqrt() * (1.0 - alpha) / (1.0 - before)
        to_x = alpha.sqrt() * (1.0 - after) / (1.0 - before)
        mean = to_clean * clean + to_x * x
        if fresh is None:
            return mean
        variance = (1.0 - after) / (1.0 - before) * (1.0 - alpha)
        return mean + variance.clamp_min(_LEAST_VARIANCE).sqrt() * fresh


def alpha_bars(schedule: BetaSchedule, timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    """Cumulative products of ``1 - beta``, ``(timesteps,)`` float32 on the CPU, falling from nearly 1.

    Args:
        schedule: how beta grows.
        timesteps: of training.
        beta_start: first beta; without meaning for ``squaredcos_cap_v2`` and ``laplace``.
        beta_end: last beta; likewise.

    Raises:
        ConfigurationError: in float32 some timestep has no noise at all, or nothing but noise.
    """
    # On the CPU even where the default device is another one: the values are needed to build a network's skeleton.
    betas = _betas(schedule, timesteps, beta_start, beta_end).to("cpu", torch.float32)
    values = torch.cumprod(1.0 - betas, dim=0)
    if not bool(((values > 0.0) & (values < 1.0)).all()):
        raise ConfigurationError(
            f"beta_schedule: expected noise beside something else at each of {timesteps} timesteps, got alpha_bar "
            f"from {values.min():g} to {values.max():g}; choose other betas or fewer timesteps"
        )
    return values


def denoising_steps(alpha_bars: Tensor, count: int) -> tuple[DenoisingStep, ...]:
    """``count`` steps through a schedule, from noise to clean, ``T // count`` timesteps apart and ending at 0.

    Args:
        alpha_bars: ``(T,)`` of :func:`alpha_bars`.
        count: 1 to T.
    """
    spacing = len(alpha_bars) // count
    visited = [index * spacing for index in range(count)]
    after = [torch.ones((), device="cpu"), *(alpha_bars[timestep] for timestep in visited[:-1])]
    steps = [DenoisingStep(t, alpha_bars[t], then) for t, then in zip(visited, after, strict=True)]
    return tuple(reversed(steps))


def _betas(schedule: BetaSchedule, timesteps: int, start: float, end: float) -> Tensor:
    def line(first: float, last: float) -> Tensor:
        return torch.linspace(first, last, timesteps, dtype=torch.float32, device="cpu")

    if schedule == "linear":
        return line(start, end)
    if schedule == "scaled_linear":
        return line(math.sqrt(start), math.sqrt(end)).square()
    if schedule == "sigmoid":
        return torch.sigmoid(line(-_SIGMOID_ENDS, _SIGMOID_ENDS)) * (end - start) + start
    return _discretised(_cosine if schedule == "squaredcos_cap_v2" else _laplace, timesteps)


def _discretised(alpha_bar: Callable[[float], float], timesteps: int) -> Tensor:
    """Betas whose cumulative product follows a function of time from 0 to 1, none above 0.999."""
    at = [alpha_bar(index / timesteps) for index in range(timesteps + 1)]
    betas = [min(1.0 - then / now, _MAX_BETA) for now, then in itertools.pairwise(at)]
    return torch.tensor(betas, dtype=torch.float32, device="cpu")


def _cosine(time: float) -> float:
    """Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17."""
    return math.cos((time + 0.008) / 1.008 * math.pi / 2.0) ** 2


def _laplace(time: float) -> float:
    """Noise levels with a Laplace distribution of their logarithms (Hang et al. 2024, arXiv:2407.03297)."""
    side = math.copysign(1.0, 0.5 - time)
    ratio = math.exp(-0.5 * side * math.log(1.0 - 2.0 * abs(0.5 - time) + 1e-6))
    return math.sqrt(ratio / (1.0 + ratio))
