# SPDX-License-Identifier: Apache-2.0
"""Diffusion, guided to continue what is being executed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.policies import make_policy
from policy_ros.policies.diffusion.config import DiffusionConfig
from policy_ros.policies.diffusion.denoising import Denoiser
from policy_ros.policies.guidance import Target
from policy_ros.rtc import SCHEDULES, GuidanceOptions, guidance_weight

HORIZON, HISTORY, A = 12, 3, 2
H = HORIZON - HISTORY + 1
STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
SEEN = {STATE: np.zeros((HISTORY, 2), np.float32), ENVIRONMENT: np.zeros((HISTORY, 1), np.float32)}
KINDS = [(kind, prediction) for kind in ("DDPM", "DDIM") for prediction in ("epsilon", "sample")]


def options(**changes: Any) -> dict[str, Any]:
    return {
        "input_features": {STATE: {"type": "STATE", "shape": [2]}, ENVIRONMENT: {"type": "ENV", "shape": [1]}},
        "output_features": {ACTION: {"type": "ACTION", "shape": [A]}},
        "n_obs_steps": HISTORY,
        "horizon": HORIZON,
        "n_action_steps": H,
        "down_dims": [8, 16],
        "n_groups": 4,
        "kernel_size": 3,
        "diffusion_step_embed_dim": 8,
        "num_train_timesteps": 50,
        "num_inference_steps": 10,
        **changes,
    }


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return make_policy("diffusion", options(**changes), device="cpu")


class TwoWays:
    """The exact network for chunks that turn left or right, each as likely, with a spread.

    Args:
        denoiser: of the configuration.
        tells_noise: what the network is to say.
    """

    spread = 0.1

    def __init__(self, denoiser: Denoiser, tells_noise: bool) -> None:
        self._alpha_bars, self._tells_noise = denoiser.alpha_bars, tells_noise
        along = torch.linspace(0.0, 1.0, HORIZON)
        self.ways = torch.stack((torch.stack((along, along), -1), torch.stack((along, -along), -1)))  # (2, horizon, A)

    def __call__(self, x: torch.Tensor, timestep: int) -> torch.Tensor:
        a = self._alpha_bars[timestep]
        variance = a * self.spread**2 + 1.0 - a
        apart = x.unsqueeze(1) - a.sqrt() * self.ways  # (B, 2, horizon, A)
        chance = (-apart.square().sum((2, 3)) / (2.0 * variance)).softmax(dim=1)[..., None, None]
        clean = (chance * (self.ways + a.sqrt() * self.spread**2 / variance * apart)).sum(1)
        return (x - a.sqrt() * clean) / (1.0 - a).sqrt() if self._tells_noise else clean


def noises(count: int = 200) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    while True:
        yield torch.randn(count, HORIZON, A, generator=generator)


@pytest.mark.parametrize("jacobian", ["exact", "identity"])
@pytest.mark.parametrize(("kind", "prediction"), KINDS)
def test_guidance_keeps_the_rows_that_are_executed_meanwhile_and_the_way_they_began(kind, prediction, jacobian) -> None:
    """The noise alone would go either way."""
    config = DiffusionConfig.from_dict(options(noise_scheduler_type=kind, prediction_type=prediction))
    denoiser = Denoiser(config)
    network = TwoWays(denoiser, prediction == "epsilon")
    left, past = network.ways[0], HISTORY - 1
    weights = torch.zeros(HORIZON)
    weights[past : past + 7] = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.6, 0.3, 0.1])
    target = Target(left[None, : past + 7], weights, GuidanceOptions(jacobian=jacobian))
    free = denoiser.denoise(network, noises())
    guided = denoiser.denoise(network, noises(), target)
    apart = [(rows[:, past : past + 4] - left[past : past + 4]).abs().amax((1, 2)) for rows in (free, guided)]
    turned_left = [(rows[:, -1, 1] > 0.0).float().mean() for rows in (free, guided)]
    assert 0.3 < turned_left[0] < 0.7 and turned_left[1] > turned_left[0] + 0.2
    assert apart[1].median() < 0.5 * apart[0].median()


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_guidance_agrees_with_finite_differences_through_the_network(prediction, clip) -> None:
    """The clean rows move by ``(1 - tau) gw c J^T e``; the noise that the network tells stays."""
    policy = build(prediction_type=prediction, clip_sample=clip).double()
    denoiser, step = Denoiser(policy.config), Denoiser(policy.config).steps[6]
    torch.manual_seed(4)
    condition = torch.randn(1, 3 * HISTORY, dtype=torch.float64)
    x, prefix = (0.3 * torch.randn(1, HORIZON, A, dtype=torch.float64) for _ in range(2))
    weights, small = torch.linspace(1, 0, HORIZON, dtype=torch.float64), 1e-6

    def network(at: torch.Tensor, timestep: int) -> torch.Tensor:
        return policy.diffusion(at, torch.tensor([timestep]), condition)

    with torch.no_grad():
        free = denoiser.estimate(network, x, step)
        error, numeric = weights[:, None] * (prefix - free.clean), torch.zeros_like(x)
        for index in np.ndindex(*x.shape):
            shift = torch.zeros_like(x)
            shift[index] = small
            ahead, behind = (denoiser.estimate(network, at, step).clean for at in (x + shift, x - shift))
            numeric[index] = ((ahead - behind) / (2 * small) * error).sum()
    a = float(step.alpha_bar)
    c = math.sqrt(a) + math.sqrt(1.0 - a)
    tau = math.sqrt(a) / c
    guided = denoiser.estimate(network, x, step, Target(prefix, weights, GuidanceOptions()))
    expected = free.clean + (1.0 - tau) * guidance_weight(tau, GuidanceOptions().max_weight) * c * numeric
    expected = expected.clamp(-1.0, 1.0) if clip else expected
    assert (expected - free.clean).abs().max() > 0.05
    torch.testing.assert_close(guided.clean, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(guided.noise, free.noise)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("kind", "prediction"), KINDS)
def test_without_weights_guidance_changes_nothing(kind, prediction, schedule) -> None:
    policy = build(noise_scheduler_type=kind, prediction_type=prediction)
    noise = np.random.default_rng(0).normal(size=(1, *policy.config.noise_shape)).astype(np.float32)
    expected, chosen = policy.predict(SEEN, noise=noise), GuidanceOptions(schedule=schedule)
    for rows, s in ((0, 3), (H, H)):
        prefix = np.full((rows, A), 0.5, np.float32)
        guided = policy.guided_inference(SEEN, prefix=prefix, delay=2, execution_horizon=s, noise=noise, options=chosen)
        np.testing.assert_array_equal(guided, expected)


@pytest.mark.parametrize(("kind", "prediction"), KINDS)
def test_a_prefix_is_aligned_with_the_chunk_and_not_with_the_horizon(kind, prediction, monkeypatch) -> None:
    """With a network that knows nothing but how far rows spread, each by itself, nothing else moves them."""
    policy = build(noise_scheduler_type=kind, prediction_type=prediction)

    def independent(x: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        a = policy.alpha_bars[timestep][:, None, None]
        clean = a.sqrt() * 0.25 / (a * 0.25 + 1.0 - a) * x
        return clean if prediction == "sample" else (x - a.sqrt() * clean) / (1.0 - a).sqrt()

    monkeypatch.setattr(policy.diffusion, "forward", independent)
    prefix = np.linspace(-0.9, 0.9, 6, dtype=np.float32)[:, None].repeat(A, axis=1)
    random = np.random.default_rng(0)
    drawn = [random.normal(size=(1, *policy.config.noise_shape)).astype(np.float32) for _ in range(20)]
    free = np.array([policy.predict(SEEN, noise=noise) for noise in drawn])
    arguments = {"prefix": prefix, "delay": 6, "execution_horizon": 4}
    guided = np.array([policy.guided_inference(SEEN, noise=noise, **arguments) for noise in drawn])
    apart = [np.abs(chunks[:, :6] - prefix).mean() for chunks in (guided, free)]
    assert apart[0] < 0.5 * apart[1]
    for shifted in (guided[:, 1:7], np.roll(guided, 1, axis=1)[:, :6]):
        assert apart[0] < np.abs(shifted - prefix).mean()
    np.testing.assert_array_equal(guided[:, 6:], free[:, 6:])


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_guidance_is_the_same_whatever_gradient_mode_is_around(around) -> None:
    policy = build()
    noise = np.random.default_rng(0).normal(size=(1, *policy.config.noise_shape)).astype(np.float32)
    arguments = {"prefix": np.full((6, A), 0.3, np.float32), "delay": 2, "execution_horizon": 4, "noise": noise}
    expected = policy.guided_inference(SEEN, **arguments)
    with around():
        np.testing.assert_array_equal(policy.guided_inference(SEEN, **arguments), expected)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_the_observation_is_looked_at_once_for_all_steps(monkeypatch) -> None:
    policy = build()
    condition, looks = policy.diffusion.condition, []
    monkeypatch.setattr(policy.diffusion, "condition", lambda batch: (looks.append(1), condition(batch))[1])
    policy.predict(SEEN)
    policy.guided_inference(SEEN, prefix=np.zeros((6, A), np.float32), delay=2, execution_horizon=3)
    assert len(looks) == 2


def test_it_says_that_it_can_be_guided() -> None:
    config = build().config
    assert config.supports_guidance and config.uses_noise and dataclasses.is_dataclass(config)
