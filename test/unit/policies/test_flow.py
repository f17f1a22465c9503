# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.nn.observation_encoder import Inputs
from policy_ros.rtc import GuidanceOptions, guided_velocity

H, A = 10, 2


def options(**changes: Any) -> dict[str, Any]:
    return {
        "input_features": {"observation.state": {"type": "STATE", "shape": [2]}},
        "output_features": {"action": {"type": "ACTION", "shape": [A]}},
        "chunk_size": H,
        "n_action_steps": H,
        "dim_model": 32,
        "n_heads": 2,
        "dim_feedforward": 64,
        "n_encoder_layers": 1,
        "n_decoder_layers": 2,
        **changes,
    }


def build(seed: int = 0, **changes: Any):
    torch.manual_seed(seed)
    return make_policy("flow", options(**changes), device="cpu")


def observation(*state: float) -> dict[str, np.ndarray]:
    return {"observation.state": np.array(state or (0.0, 0.0), np.float32)}


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, H, A)).astype(np.float32)


def two_ways(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """States near zero, and chunks that turn left or right: ``(count, 2)``, ``(count, H, A)``."""
    state = 0.1 * torch.randn(count, 2, generator=generator)
    side = torch.randint(0, 2, (count, 1), generator=generator) * 2.0 - 1.0
    along = torch.linspace(0.0, 1.0, H)
    return state, torch.stack((along.expand(count, H), side * along), dim=-1) + state.unsqueeze(1)


@pytest.fixture(scope="module")
def trained():
    """Learnt in a few seconds from two ways of doing the same."""
    policy = build(num_inference_steps=5)
    policy.train()
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=500)
    torch.manual_seed(2)
    for _ in range(500):
        state, action = two_ways(64, generator)
        loss, _ = policy({"observation.state": state, "action": action})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    policy.freeze()
    return policy


def test_it_learns_both_ways_and_averages_none(trained) -> None:
    ends = np.array([trained.predict(observation(), noise=noise(seed))[-1, 1] for seed in range(40)])
    near = np.minimum(np.abs(ends - 1.0), np.abs(ends + 1.0))
    assert np.median(near) < 0.2
    assert 5 <= np.sum(ends > 0.0) <= 35


def test_guidance_continues_the_prefix_and_keeps_the_way_it_took(trained) -> None:
    """Seven of ten rows are still planned, five will be executed meanwhile; the noise alone would go anywhere."""
    along = np.linspace(0.0, 1.0, H, dtype=np.float32)
    left = (np.stack((along, along), axis=1) + 0.05)[:7]
    now = observation(0.05, 0.05)
    noises = [noise(seed) for seed in range(30)]
    free = np.array([trained.predict(now, noise=each) for each in noises])
    guided = np.array(
        [trained.guided_inference(now, prefix=left, delay=5, execution_horizon=3, noise=each) for each in noises]
    )
    close, apart = (np.abs(chunks[:, :5] - left[:5]).max(axis=(1, 2)) for chunks in (guided, free))
    assert np.median(close) < 0.5 * np.median(apart)
    assert np.mean(guided[:, -1, 1] > 0.0) >= 0.85 > 0.7 > np.mean(free[:, -1, 1] > 0.0), "it goes on as it began"


def test_without_weights_guidance_changes_nothing(trained) -> None:
    prefix = np.zeros((0, A), np.float32)
    guided = trained.guided_inference(observation(), prefix=prefix, delay=2, execution_horizon=3, noise=noise())
    np.testing.assert_allclose(guided, trained.predict(observation(), noise=noise()), atol=1e-6)


def test_rows_behind_the_prefix_are_not_pulled_toward_padding(trained) -> None:
    """Three rows are left although s and H promise seven: what is not there must not draw the chunk to zero."""
    prefix, now = np.full((3, A), 0.8, np.float32), observation()
    arguments = {"delay": 2, "execution_horizon": 3, "noise": noise(3)}
    guided = trained.guided_inference(now, prefix=prefix, **arguments)
    padded = np.concatenate((prefix, np.zeros((4, A), np.float32)))
    pulled = trained.guided_inference(now, prefix=padded, **arguments)
    assert np.abs(guided - pulled).max() > 0.01


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_guidance_is_the_same_whatever_gradient_mode_is_around(trained, around) -> None:
    prefix = np.full((6, A), 0.3, np.float32)
    arguments = {"prefix": prefix, "delay": 2, "execution_horizon": 4, "noise": noise()}
    expected = trained.guided_inference(observation(), **arguments)
    with around():
        np.testing.assert_array_equal(trained.guided_inference(observation(), **arguments), expected)
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_the_exact_jacobian_goes_through_the_network(trained) -> None:
    prefix = np.full((6, A), 0.3, np.float32)
    arguments = {"prefix": prefix, "delay": 2, "execution_horizon": 4, "noise": noise()}
    exact = trained.guided_inference(observation(), **arguments)
    identity = trained.guided_inference(observation(), **arguments, options=GuidanceOptions(jacobian="identity"))
    assert np.abs(exact - identity).max() > 1e-3


def test_guidance_agrees_with_finite_differences_through_the_network() -> None:
    policy = build(seed=3).double()
    memory = policy.model.encode(Inputs([], torch.zeros(1, 2, dtype=torch.float64), None))
    torch.manual_seed(4)
    x, prefix = torch.randn(1, H, A, dtype=torch.float64), torch.randn(1, 6, A, dtype=torch.float64)
    weights, tau, step = torch.linspace(1, 0, H, dtype=torch.float64), 0.3, 1e-6

    def velocity(at: torch.Tensor, tau: float) -> torch.Tensor:
        return policy.model.velocity(at, torch.full((1,), tau, dtype=torch.float64), memory)

    with torch.no_grad():
        free = velocity(x, tau)
        error = torch.zeros_like(x)
        error[:, :6] = weights[:6, None] * (prefix - (x + (1 - tau) * free)[:, :6])
        numeric = torch.zeros_like(x)
        for index in np.ndindex(*x.shape):
            shift = torch.zeros_like(x)
            shift[index] = step
            ahead, behind = ((at + (1 - tau) * velocity(at, tau)) for at in (x + shift, x - shift))
            numeric[index] = ((ahead - behind) / (2 * step) * error).sum()
        weight = (tau**2 + (1 - tau) ** 2) / (tau * (1 - tau))
    guided = guided_velocity(velocity, x, tau, prefix, weights, 5.0)
    torch.testing.assert_close(guided, free + weight * numeric, atol=1e-7, rtol=1e-6)


def test_padding_does_not_count_in_the_loss() -> None:
    policy = build()
    batch = {"observation.state": torch.zeros(2, 2), "action": torch.zeros(2, H, A)}
    batch["action_is_pad"] = torch.zeros(2, H, dtype=torch.bool)
    batch["action_is_pad"][:, 5:] = True
    torch.manual_seed(0)
    first, _ = policy(batch)
    batch["action"][:, 5:] = 100.0
    torch.manual_seed(0)
    # What attends to padded rows sees them, so only the size is compared: 100 squared would show.
    second, _ = policy(batch)
    assert second < 100.0 * first


def test_a_checkpoint_reads_back_equal(tmp_path, trained) -> None:
    trained.save_pretrained(tmp_path)
    again = load_policy(tmp_path, device="cpu")
    np.testing.assert_array_equal(
        again.predict(observation(0.1, 0.2), noise=noise()), trained.predict(observation(0.1, 0.2), noise=noise())
    )
    assert again.config.num_inference_steps == 5 and again.config.supports_guidance


def test_cameras_and_environment_are_encoded() -> None:
    policy = build(
        input_features={
            "observation.images.top": {"type": "VISUAL", "shape": [3, 64, 64]},
            "observation.environment_state": {"type": "ENV", "shape": [3]},
        }
    )
    images = [np.full((3, 64, 64), value, np.uint8) for value in (0, 255)]
    environment = np.zeros(3, np.float32)
    chunks = [
        policy.predict({"observation.images.top": i, "observation.environment_state": environment}, noise=noise())
        for i in images
    ]
    assert chunks[0].shape == (H, A) and np.abs(chunks[0] - chunks[1]).max() > 0.0
    policy.warmup()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"dim_model": 33}, "n_heads|even"),
        ({"n_obs_steps": 2}, "n_obs_steps"),
        ({"input_features": {"observation.effort": {"type": "STATE", "shape": [2]}}}, "input_features"),
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**changes)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"noise: expected shape \(1, 10, 2\)"):
        build().predict(observation(), noise=np.zeros((1, 3, A), np.float32))


def test_a_policy_that_cannot_be_guided_says_what_to_use() -> None:
    act = make_policy(
        "act",
        {
            **{k: v for k, v in options().items() if k != "input_features"},
            "input_features": {"observation.environment_state": {"type": "ENV", "shape": [3]}},
        },
        device="cpu",
    )
    with pytest.raises(ConfigurationError, match=r"'act' cannot be guided: use execution mode blend"):
        act.guided_inference(
            {"observation.environment_state": np.zeros(3, np.float32)},
            prefix=np.zeros((1, A), np.float32),
            delay=0,
            execution_horizon=1,
        )
