# SPDX-License-Identifier: Apache-2.0
"""A flow-matching policy whose velocity field is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


class MixtureFlow:
    """The flow from standard normal noise to a mixture of Gaussians over chunks, without a network.

    With noise e, action A and the straight path ``x = (1 - tau) e + tau A``, flow matching learns the mean velocity of
    all paths through x, ``v(x, tau) = E[A - e | x]`` (Lipman et al., "Flow Matching for Generative Modeling",
    arXiv:2210.02747, eq. 8). Since ``e = (x - tau A) / (1 - tau)``, this is ``(E[A | x] - x) / (1 - tau)``.

    For ``A ~ sum_m w_m N(mu_m, S)`` the noisy action of mode m is ``N(tau mu_m, C)`` with
    ``C = (1 - tau)^2 I + tau^2 S``. Conditioning jointly Gaussian A and x gives
    ``E[A | x, m] = mu_m + tau S C^-1 (x - tau mu_m)``, and Bayes' rule the weight of m,
    ``p_m ~ w_m exp(-(x - tau mu_m)^T C^-1 (x - tau mu_m) / 2)``; ``E[A | x]`` is their weighted sum.

    Legend: H rows, A joints, M modes. All joints share S and are independent of each other.

    Args:
        covariance: S, ``(H, H)``, positive semidefinite.
    """

    def __init__(self, covariance: Tensor) -> None:
        eigenvalues, self._basis = torch.linalg.eigh(covariance)
        self._eigenvalues = eigenvalues.clamp_min(0.0)[:, None]  # (H, 1)

    def velocity(self, x: Tensor, tau: float, means: Tensor, log_weights: Tensor) -> Tensor:
        """v at ``x`` ``(…, H, A)`` and ``0 <= tau < 1``.

        Args:
            x: noisy chunks.
            tau: flow time, 0 noise, 1 action.
            means: mu, ``(M, H, A)``.
            log_weights: log w up to a constant, ``(M,)``.
        """
        return (self.expectation(x, tau, means, log_weights) - x) / (1.0 - tau)

    def expectation(self, x: Tensor, tau: float, means: Tensor, log_weights: Tensor) -> Tensor:
        """``E[A | x]``, arguments as for :meth:`velocity`."""
        variance = (1.0 - tau) ** 2 + tau**2 * self._eigenvalues  # of C, in its own basis
        distance = self._basis.T @ (x[..., None, :, :] - tau * means)  # (…, M, H, A)
        conditional = means + self._basis @ (tau * self._eigenvalues / variance * distance)
        log_likelihood = -0.5 * (distance**2 / variance).sum(dim=(-2, -1))  # of the modes, up to a constant
        share = torch.softmax(log_weights + log_likelihood, dim=-1)  # (…, M)
        expected: Tensor = (share[..., None, None] * conditional).sum(dim=-3)
        return expected
