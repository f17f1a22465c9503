# SPDX-License-Identifier: Apache-2.0
"""Temporal ensembling of overlapping chunks (Zhao et al. 2023, arXiv:2304.13705, algorithm 2)."""

from __future__ import annotations

import torch
from torch import Tensor


class TemporalEnsembler:
    """Averages, for every step, all predictions made for it, with weights ``exp(-coefficient * i)``.

    ``i`` counts the predictions for that step, the oldest being 0: a positive coefficient trusts old predictions more,
    a negative one new ones, zero all alike. Only the running weighted sums of the steps still ahead are kept.

    Args:
        coefficient: rate of the weights.
        horizon: H, rows of a chunk.
    """

    def __init__(self, coefficient: float, horizon: int) -> None:
        self.horizon = horizon
        self._weights = torch.exp(-coefficient * torch.arange(horizon, dtype=torch.float64))
        self._totals = self._weights.cumsum(0)
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._sums: Tensor | None = None  # (H - 1, A): weighted sums for the steps after the current one
        self._counts = torch.zeros(self.horizon - 1, dtype=torch.long)  # predictions in each sum

    def update(self, chunk: Tensor) -> Tensor:
        """Add the chunk predicted at the current step, return that step's action, and move on by one step.

        Args:
            chunk: ``(H, A)``, row 0 for the current step.

        Returns:
            ``(A,)``, in the chunk's dtype and on its device.
        """
        if chunk.shape[0] != self.horizon:
            raise ValueError(f"expected a chunk of {self.horizon} rows, got shape {tuple(chunk.shape)}")
        # The last row is the first prediction ever made for its step.
        counts = torch.cat((self._counts, torch.zeros(1, dtype=torch.long)))
        sums = torch.zeros_like(chunk, dtype=torch.float64)
        if self._sums is not None:
            sums[:-1] = self._sums
        sums += self._weights[counts].to(chunk.device)[:, None] * chunk
        action = sums[0] / self._totals[counts[0]].to(chunk.device)
        self._sums, self._counts = sums[1:], counts[1:] + 1
        return action.to(chunk.dtype)
