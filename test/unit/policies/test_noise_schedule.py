# SPDX-License-Identifier: Apache-2.0
"""Schedules and steps, also against numbers of diffusers 0.39."""

from __future__ import annotations

import pytest
import torch

from policy_ros.errors import ConfigurationError
from policy_ros.policies.nn.noise_schedule import alpha_bars, denoising_steps

# alpha_bar at timesteps 0, 7 and 19 of 20, beta_start 0.001, beta_end 0.2
DIFFUSERS = {
    "linear": (0.999, 0.7337617, 0.114912),
    "scaled_linear": (0.999, 0.8913327, 0.2086327),
    "squaredcos_cap_v2": (0.9920073, 0.6474782, 6.059566e-06),
    "laplace": (0.8720698, 0.7269056, 0.03162277),
    "sigmoid": (0.998508, 0.9176339, 0.1105251),
}
# 6 of 20 timesteps of squaredcos_cap_v2, third step, clean sample clipped to 1; DDPM adds FRESH.
X = torch.tensor([1.540996, -0.2934289, -2.178789, 0.5684313])
OUTPUT = torch.tensor([-1.084522, -1.398595, 0.4033468, 0.8380263])
FRESH = torch.tensor([0.6613522, 0.2669241, 0.06167726, 0.6213173])
STEPPED = {
    ("ddpm", "epsilon"): (1.508411, 0.5021927, -1.499387, 0.4987798),
    ("ddpm", "sample"): (0.4558264, -0.5495365, -0.7608162, 0.9606316),
    ("ddim", "epsilon"): (0.2744229, 0.106809, -0.6349587, 0.410015),
    ("ddim", "sample"): (0.8649852, -0.3355461, -1.489578, 0.6957798),
}


@pytest.mark.parametrize("schedule", DIFFUSERS)
def test_schedules_are_those_of_diffusers(schedule):
    values = alpha_bars(schedule, 20, 0.001, 0.2)
    assert values.dtype == torch.float32
    assert values[[0, 7, 19]].tolist() == pytest.approx(DIFFUSERS[schedule], rel=1e-6)
    assert (values.diff() < 0.0).all()


@pytest.mark.parametrize(("kind", "prediction"), STEPPED)
def test_a_step_is_that_of_diffusers(kind, prediction):
    step = denoising_steps(alpha_bars("squaredcos_cap_v2", 20, 0.001, 0.2), 6)[2]
    assert step.timestep == 9
    clean = step.clean(X, OUTPUT) if prediction == "epsilon" else OUTPUT
    noise = OUTPUT if prediction == "epsilon" else step.noise(X, OUTPUT)
    clean = clean.clamp(-1.0, 1.0)
    after = step.ddim(clean, noise) if kind == "ddim" else step.ddpm(X, clean, FRESH)
    assert after.tolist() == pytest.approx(STEPPED[kind, prediction], rel=1e-5)


@pytest.mark.parametrize(("count", "timesteps"), [(1, [0]), (3, [66, 33, 0]), (7, [84, 70, 56, 42, 28, 14, 0])])
def test_steps_are_evenly_spaced_and_end_clean(count, timesteps):
    values = alpha_bars("squaredcos_cap_v2", 100, 0.0001, 0.02)
    steps = denoising_steps(values, count)
    assert [step.timestep for step in steps] == timesteps
    assert [step.alpha_bar for step in steps] == [values[t] for t in timesteps]
    assert [step.next_alpha_bar for step in steps] == [*(values[t] for t in timesteps[1:]), 1.0]
    assert [step.is_last for step in steps] == [False] * (count - 1) + [True]


def test_whoever_knows_the_clean_sample_gets_it_by_either_way():
    """A random step keeps as much noise as its level says; a deterministic one keeps the noise itself."""
    torch.manual_seed(0)
    clean, noise = torch.full((200_000,), 0.5), torch.randn(200_000)
    steps = denoising_steps(alpha_bars("linear", 100, 0.001, 0.05), 5)
    x = certain = steps[0].alpha_bar.sqrt() * clean + (1.0 - steps[0].alpha_bar).sqrt() * noise
    for step in steps:
        x = step.ddpm(x, clean, None if step.is_last else torch.randn_like(x))
        certain = step.ddim(clean, step.noise(certain, clean))
        level = step.next_alpha_bar
        assert x.mean().item() == pytest.approx(0.5 * level.sqrt().item(), abs=0.01)
        assert x.var().item() == pytest.approx(1.0 - level.item(), abs=0.01)
        torch.testing.assert_close(certain, level.sqrt() * clean + (1.0 - level).sqrt() * noise, atol=1e-5, rtol=0)
    torch.testing.assert_close(x, clean)


@pytest.mark.parametrize(("start", "end", "timesteps"), [(1e-9, 0.02, 100), (0.01, 0.9, 1000)])
def test_schedules_that_float32_cannot_hold_are_refused(start, end, timesteps):
    with pytest.raises(ConfigurationError, match="beta_schedule: expected noise beside something else"):
        alpha_bars("linear", timesteps, start, end)


def test_schedules_do_not_follow_the_default_device():
    with torch.device("meta"):
        steps = denoising_steps(alpha_bars("linear", 10, 0.001, 0.1), 2)
    assert {value.device.type for step in steps for value in (step.alpha_bar, step.next_alpha_bar)} == {"cpu"}
