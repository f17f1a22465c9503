# SPDX-License-Identifier: Apache-2.0
"""The closed-form flow is what flow matching would learn."""

from __future__ import annotations

import pytest
import torch

from policy_ros.bench.execution.mixture import MixtureFlow

COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
MEANS = torch.tensor([[[1.0], [2.0]], [[-1.0], [-1.5]]], dtype=torch.float64)  # (M, H, A)
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)


def sample_actions(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mode = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    normal = torch.randn(count, 2, 1, dtype=torch.float64, generator=generator)
    return MEANS[mode] + torch.linalg.cholesky(COVARIANCE) @ normal


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("at", [(0.2, -0.4), (1.1, 1.3), (-0.9, 0.1)])
def test_the_velocity_is_the_mean_velocity_of_all_paths_through_a_point(tau: float, at: tuple[float, float]):
    """Monte Carlo over actions, each weighted by the density of the noise that leads it through the point."""
    x = torch.tensor(at, dtype=torch.float64)[:, None]
    actions = sample_actions(400_000)
    noise = (x - tau * actions) / (1.0 - tau)
    share = torch.softmax(-0.5 * noise.square().sum(dim=(-2, -1)), dim=0)
    expected = (share[:, None, None] * (actions - noise)).sum(dim=0)
    velocity = MixtureFlow(COVARIANCE).velocity(x, tau, MEANS, WEIGHTS.log())
    torch.testing.assert_close(velocity, expected, rtol=0.02, atol=0.02)


def test_following_the_velocity_carries_noise_to_the_mixture():
    flow, steps = MixtureFlow(COVARIANCE), 200
    x = torch.randn(20_000, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        x = x + flow.velocity(x, step / steps, MEANS, WEIGHTS.log()) / steps
    wanted = sample_actions(400_000)
    torch.testing.assert_close(x.mean(0), wanted.mean(0), rtol=0.0, atol=0.03)
    torch.testing.assert_close(torch.cov(x[..., 0].T), torch.cov(wanted[..., 0].T), rtol=0.03, atol=0.03)
    torch.testing.assert_close(
        (x[:, 1] > 0.0).double().mean(), (wanted[:, 1] > 0.0).double().mean(), rtol=0.0, atol=0.02
    )
