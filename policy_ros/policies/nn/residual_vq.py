# SPDX-License-Identifier: Apache-2.0
"""Vectors to codes: each layer names the nearest of its vectors, the next one what that leaves over.

Residual quantisation as in SoundStream (Zeghidour et al. 2021, arXiv:2107.03312, algorithm 1), codebooks that follow
moving averages as in VQ-VAE-2 (Razavi et al. 2019, arXiv:1906.00446). Names of buffers are LeRobot's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch import Tensor, nn

_KEPT = 0.8  # of the averages, in each step
_EPS = 1e-5  # guards codes that are never used


class Quantized(NamedTuple):
    """What became of N vectors.

    Attributes:
        vectors: ``(N, D)``, sums of the codes' vectors; gradients pass straight through each of the layers.
        codes: ``(N, L)`` int64, one for each layer.
        commitment: mean squared distance to the vectors, summed over the layers; 0 in evaluation.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """C vectors that follow, in training, the means of what is nearest to them.

    Args:
        dim: D, length of a vector.
        size: C.
    """

    initted: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        embed = torch.empty(1, size, dim)
        nn.init.kaiming_uniform_(embed)
        self.register_buffer("initted", torch.ones(1))  # for the record: vectors start at random
        self.register_buffer("cluster_size", torch.zeros(1, size))
        self.register_buffer("embed_avg", embed.clone())
        self.register_buffer("embed", embed)

    def nearest(self, x: Tensor) -> Tensor:
        """``(N, D)`` to ``(N,)`` int64."""
        embed = self.embed[0]
        distance = (x**2).sum(-1)[:, None] + (embed**2).sum(-1) - 2 * (x @ embed.T)  # squared
        return distance.argmin(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """``(N,)`` to ``(N, D)``."""
        return self.embed[0, codes]

    @torch.no_grad()
    def follow(self, x: Tensor, codes: Tensor) -> None:
        """Move toward ``x`` ``(N, D)``, of which ``codes`` ``(N,)`` are the nearest."""
        chosen = F.one_hot(codes, self.embed.shape[1]).to(x.dtype)  # (N, C)
        count, total = chosen.sum(0), chosen.T @ x
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            distributed.all_reduce(count)
            distributed.all_reduce(total)
        self.cluster_size.lerp_(count[None], 1 - _KEPT)
        self.embed_avg.lerp_(total[None], 1 - _KEPT)
        size, used = self.cluster_size, self.cluster_size.sum(-1, keepdim=True)
        smoothed = (size + _EPS) / (used + size.shape[-1] * _EPS) * used
        self.embed.copy_(self.embed_avg / smoothed[..., None])


class _Layer(nn.Module):
    """Wraps a codebook under the checkpoints' name."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self._codebook = Codebook(dim, size)

    @property
    def codebook(self) -> Codebook:
        return self._codebook


class ResidualQuantizer(nn.Module):
    """L codebooks, one after the other.

    Args:
        dim: D, length of a vector.
        size: C, codes of a layer.
        layers: L.
    """

    freeze_codebook: Tensor

    def __init__(self, dim: int, size: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(dim, size) for _ in range(layers)])
        self.register_buffer("freeze_codebook", torch.tensor(False))

    @property
    def codebooks(self) -> list[Codebook]:
        """In their order."""
        return [layer.codebook for layer in self.layers if isinstance(layer, _Layer)]

    def forward(self, x: Tensor) -> Quantized:
        """Quantise ``(N, D)``; in training the codebooks follow, unless frozen."""
        with torch.autocast(x.device.type, enabled=False):  # sums of squares
            return self._quantize(x.float())

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes ``(N, L)`` to the vectors ``(N, D)`` that they stand for."""
        return torch.stack([book.lookup(codes[:, layer]) for layer, book in enumerate(self.codebooks)]).sum(0)

    def _quantize(self, x: Tensor) -> Quantized:
        follow = self.training and not bool(self.freeze_codebook)
        residual, total, codes, commitment = x, torch.zeros_like(x), [], x.new_zeros(())
        for book in self.codebooks:
            found = book.nearest(residual)
            vectors = book.lookup(found)
            if self.training:
                commitment = commitment + F.mse_loss(vectors, residual)
                if follow:
                    book.follow(residual.detach(), found)
                vectors = residual + (vectors - residual).detach()  # straight through
            codes.append(found)
            residual = residual - vectors.detach()
            total = total + vectors
        return Quantized(total, torch.stack(codes, dim=-1), commitment)
