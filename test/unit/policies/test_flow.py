# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.nn.observation_encoder import Inputs
from policy_ros.rtc import SCHEDULES, GuidanceOptions, guided_velocity

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


def left_way(*, rows: int = H) -> np.ndarray:
    """The left of the two ways from the state ``NOW``."""
    along = np.linspace(0.0, 1.0, H, dtype=np.float32)[:rows]
    return np.stack((along, along), axis=1) + NOW["observation.state"]


NOW = observation(0.05, 0.05)
NOISES = [noise(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def trained():
    """Learnt in a few seconds from two ways of doing the same."""
    generator = torch.Generator().manual_seed(1)
    state, action = two_ways(2000, generator)
    statistics = {
        "observation.state": {"mean": state.mean(0), "std": state.std(0)},
        "action": {"mean": action.mean((0, 1)), "std": action.std((0, 1))},
    }
    torch.manual_seed(0)
    policy = make_policy("flow", options(), statistics=statistics, device="cpu").train()
    optimizer = torch.optim.Adam(policy.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=250)
    for _ in range(250):
        state, action = two_ways(64, generator)
        loss, _ = policy({"observation.state": state, "action": action})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    policy.freeze()
    return policy


def guide(policy: Any, prefix: np.ndarray, **changes: Any) -> np.ndarray:
    """Chunks ``(24, H, A)`` with s = 3 and d = 5, one for each of ``NOISES``."""
    arguments = {"prefix": prefix, "delay": 5, "execution_horizon": 3, **changes}
    return np.array([policy.guided_inference(NOW, noise=each, **arguments) for each in NOISES])


@pytest.fixture(scope="module")
def free(trained) -> np.ndarray:
    """Chunks ``(24, H, A)`` that nothing guides."""
    return np.array([trained.predict(NOW, noise=each) for each in NOISES])


@pytest.fixture(scope="module")
def guided(trained) -> np.ndarray:
    """Chunks ``(24, H, A)`` that are guided to go on left."""
    return guide(trained, left_way(rows=7))


def turns_left(chunks: np.ndarray) -> float:
    """Share of chunks that end on the left."""
    return float(np.mean(chunks[:, -1, 1] > 0.0))


def test_it_learns_both_ways_and_averages_none(free) -> None:
    off = np.abs(np.abs(free[:, -1, 1] - NOW["observation.state"][1]) - 1.0)
    assert np.median(off) < 0.15
    assert 0.2 < turns_left(free) < 0.8


def test_guidance_keeps_the_rows_that_are_executed_meanwhile_and_the_way_they_began(guided, free) -> None:
    """The noise alone would go either way."""
    left = left_way()
    apart = [np.abs(chunks[:, :5] - left[:5]).max(axis=(1, 2)) for chunks in (guided, free)]
    assert np.quantile(apart[0], 0.8) < 0.15 < 0.5 < np.quantile(apart[1], 0.8)
    assert turns_left(guided) > 0.85 > turns_left(free)


def test_the_true_jacobian_keeps_chunks_smoother_than_the_identity(trained, guided) -> None:
    """The identity keeps the executed rows too, but the rows behind them turn off to the other side more often."""
    identity = guide(trained, left_way(rows=7), options=GuidanceOptions(jacobian="identity"))
    bends = [np.abs(np.diff(chunks, n=2, axis=1)).max(axis=(1, 2)).mean() for chunks in (guided, identity)]
    assert bends[0] < bends[1]
    assert turns_left(guided) >= turns_left(identity)


def test_rows_after_the_old_chunks_end_are_free(trained, guided) -> None:
    """From row H - s on a prefix says nothing, whatever stands there."""
    prefix = left_way()
    prefix[7:] = 50.0
    np.testing.assert_array_equal(guide(trained, prefix), guided)
    assert np.abs(guided[:, 7:]).max() < 3.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_weights_guidance_changes_nothing(trained, schedule: str) -> None:
    expected = trained.predict(NOW, noise=noise())
    chosen = GuidanceOptions(schedule=schedule)
    for prefix, s in ((left_way(rows=0), 3), (left_way(), H)):
        guided = trained.guided_inference(
            NOW, prefix=prefix, delay=2, execution_horizon=s, noise=noise(), options=chosen
        )
        np.testing.assert_allclose(guided, expected, atol=1e-6)


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


def test_padding_does_not_count_in_the_loss(monkeypatch) -> None:
    policy = build()
    monkeypatch.setattr(policy.model, "velocity", lambda noisy, tau, memory: 0.0 * noisy)
    batch = {"observation.state": torch.zeros(2, 2), "action": torch.zeros(2, H, A)}
    batch["action_is_pad"] = torch.zeros(2, H, dtype=torch.bool)
    batch["action_is_pad"][:, 5:] = True
    losses = []
    for value in (0.0, 100.0):
        batch["action"][:, 5:] = value
        torch.manual_seed(0)
        losses.append(policy(batch)[0].item())
    assert losses[0] == losses[1] > 0.0
    batch["action_is_pad"][:] = True
    assert policy(batch)[0].item() == 0.0


def test_the_loss_is_of_the_straight_way_from_noise_to_action(monkeypatch) -> None:
    """The network is shown ``tau A + (1 - tau) noise`` and asked for ``A - noise``."""
    policy = build()
    batch = {"observation.state": torch.zeros(5, 2), "action": torch.randn(5, H, A)}
    target = policy.normalization.normalize("action", batch["action"])

    def know(noisy: torch.Tensor, tau: torch.Tensor, memory: Any) -> torch.Tensor:
        return (target - noisy) / (1.0 - tau[:, None, None])

    monkeypatch.setattr(policy.model, "velocity", know)
    assert policy(batch)[0].item() < 1e-6


def test_flow_times_can_be_drawn_nearer_to_the_noise(monkeypatch) -> None:
    means = []
    for beta in (1.0, 4.0):
        policy = build(flow_time_beta=beta)
        seen: list[torch.Tensor] = []
        monkeypatch.setattr(policy.model, "velocity", lambda x, tau, memory, seen=seen: (seen.append(tau), 0.0 * x)[1])
        policy({"observation.state": torch.zeros(2000, 2), "action": torch.zeros(2000, H, A)})
        assert seen[0].shape == (2000,) and seen[0].min() >= 0.0 and seen[0].max() <= 1.0
        means.append(seen[0].mean().item())
    assert means == pytest.approx([0.5, 0.2], abs=0.05)


def test_the_observation_is_encoded_once_for_all_steps(trained, monkeypatch) -> None:
    encode, calls = trained.model.encode, []
    monkeypatch.setattr(trained.model, "encode", lambda inputs: (calls.append(1), encode(inputs))[1])
    trained.predict(NOW)
    trained.guided_inference(NOW, prefix=left_way(rows=7), delay=2, execution_horizon=3)
    assert len(calls) == 2


def test_a_checkpoint_reads_back_equal(tmp_path, trained) -> None:
    trained.save_pretrained(tmp_path)
    again = load_policy(tmp_path, device="cpu")
    np.testing.assert_array_equal(again.predict(NOW, noise=noise()), trained.predict(NOW, noise=noise()))
    assert again.config.num_inference_steps == 5 and again.config.supports_guidance


CAMERA = {"observation.images.top": {"type": "VISUAL", "shape": [3, 64, 64]}}


@pytest.mark.parametrize("vectors", [{}, {"observation.environment_state": {"type": "ENV", "shape": [3]}}])
def test_cameras_are_seen_alone_or_beside_a_state(vectors: dict[str, Any], tmp_path) -> None:
    policy = build(input_features={**CAMERA, **vectors})
    policy.warmup()
    rest = {key: np.zeros(3, np.float32) for key in vectors}
    seen = [{"observation.images.top": np.full((3, 64, 64), value, np.uint8), **rest} for value in (0, 255)]
    chunks = [policy.predict(each, noise=noise()) for each in seen]
    assert chunks[0].shape == (H, A) and np.abs(chunks[0] - chunks[1]).max() > 0.0
    policy.save_pretrained(tmp_path)
    np.testing.assert_array_equal(load_policy(tmp_path, device="cpu").predict(seen[1], noise=noise()), chunks[1])


def test_it_works_on_the_environments_state_alone() -> None:
    policy = build(input_features={"observation.environment_state": {"type": "ENV", "shape": [3]}})
    policy.warmup()
    assert policy.predict({"observation.environment_state": np.zeros(3, np.float32)}).shape == (H, A)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"dim_model": 33, "n_heads": 3}, "even number"),
        ({"flow_time_alpha": 0.0}, "flow_time_alpha"),
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
