# SPDX-License-Identifier: Apache-2.0
"""Where a planner takes its random numbers from: torch's generator, or noise that somebody hands in.

Both give the same kinds of draws in the same order. From the generator they come in the order and shapes of LeRobot,
so that one seed gives one plan in both. Noise that is handed in repeats a plan on any device, and keeps the plans of a
batch apart from each other.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """The draws of one call of the planner, for a batch of B."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal ``(*shape, B, A)``."""

    def pair(self, count: int) -> Tensor:
        """Two of ``count`` estimators, with replacement: indices ``(2, B)``."""

    def choice(self, weights: Tensor) -> Tensor:
        """One index for each column of ``weights`` ``(N, B)``, which sum to 1: ``(B,)``."""


class GeneratorDraws:
    """From torch's global generator.

    Args:
        batch: B.
        actions: A.
        device: of the normal draws and choices.
    """

    def __init__(self, batch: int, actions: int, device: torch.device) -> None:
        self._size = (batch, actions)
        self._device = device

    def normal(self, *shape: int) -> Tensor:
        """Standard normal ``(*shape, B, A)``."""
        return torch.randn(*shape, *self._size, device=self._device)

    def pair(self, count: int) -> Tensor:
        """The same two for the whole batch: indices ``(2, B)``."""
        return torch.randint(0, count, (2,)).to(self._device).unsqueeze(1).expand(-1, self._size[0])

    def choice(self, weights: Tensor) -> Tensor:
        """``(B,)``."""
        return torch.multinomial(weights.T, 1).squeeze(1)


class GivenDraws:
    """From standard normal noise, one row for each member of the batch.

    Args:
        noise: ``(B, N)``, taken from the front.
        actions: A.
    """

    def __init__(self, noise: Tensor, actions: int) -> None:
        self._noise = noise
        self._actions = actions

    def normal(self, *shape: int) -> Tensor:
        """Standard normal ``(*shape, B, A)``."""
        taken = self._take(torch.Size(shape).numel() * self._actions)
        return taken.reshape(len(taken), *shape, self._actions).movedim(0, -2)

    def pair(self, count: int) -> Tensor:
        """Indices ``(2, B)``."""
        return (self._uniform(2) * count).long().clamp_max(count - 1).T

    def choice(self, weights: Tensor) -> Tensor:
        """``(B,)``, by the inverse of the cumulative distribution."""
        below = weights.cumsum(0) <= self._uniform(1).T
        index: Tensor = below.sum(0).clamp_max(weights.shape[0] - 1)
        return index

    def _uniform(self, count: int) -> Tensor:
        uniform: Tensor = torch.special.ndtr(self._take(count))
        return uniform

    def _take(self, count: int) -> Tensor:
        if count > self._noise.shape[1]:
            raise ValueError(f"expected {count} further values of noise, got {self._noise.shape[1]}")
        taken, self._noise = self._noise[:, :count], self._noise[:, count:]
        return taken
