# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.seeded import draw_noise

HORIZON, HISTORY, A = 8, 3, 2
H = HORIZON - HISTORY + 1
STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
TOP, WRIST = "observation.images.top", "observation.images.wrist"
VECTORS = {STATE: {"type": "STATE", "shape": [2]}, ENVIRONMENT: {"type": "ENV", "shape": [1]}}
CAMERAS = {key: {"type": "VISUAL", "shape": [3, 40, 48]} for key in (TOP, WRIST)}
SEEN = {STATE: np.zeros((HISTORY, 2), np.float32), ENVIRONMENT: np.zeros((HISTORY, 1), np.float32)}


def options(**changes: Any) -> dict[str, Any]:
    return {
        "input_features": VECTORS,
        "output_features": {ACTION: {"type": "ACTION", "shape": [A]}},
        "n_obs_steps": HISTORY,
        "horizon": HORIZON,
        "n_action_steps": 2,
        "down_dims": [8, 16],
        "n_groups": 4,
        "kernel_size": 3,
        "diffusion_step_embed_dim": 8,
        "num_train_timesteps": 20,
        "num_inference_steps": 4,
        "noise_scheduler_type": "DDIM",
        "spatial_softmax_num_keypoints": 2,
        **changes,
    }


def build(**changes: Any) -> Any:
    torch.manual_seed(0)
    return make_policy("diffusion", options(**changes), device="cpu")


def noise(policy: Any, seed: int = 0) -> np.ndarray:
    drawn = draw_noise(policy.config, np.random.default_rng(seed))
    assert drawn is not None
    return drawn


def pictures(seed: int = 0, steps: int = 1, size: tuple[int, int] = (40, 48)) -> dict[str, np.ndarray]:
    """An observation with both cameras."""
    random, leading = np.random.default_rng(seed), () if steps == 1 else (steps,)
    images = {key: random.integers(0, 256, (*leading, 3, *size), dtype=np.uint8) for key in CAMERAS}
    return {STATE: random.standard_normal((*leading, 2)).astype(np.float32), **images}


def with_cameras(**changes: Any) -> dict[str, Any]:
    """Options for both cameras and a state, without a history."""
    return {"input_features": {STATE: VECTORS[STATE], **CAMERAS}, "n_obs_steps": 1, **changes}


def samples(count: int = 2) -> dict[str, torch.Tensor]:
    """Training samples without cameras."""
    torch.manual_seed(1)
    return {
        STATE: torch.randn(count, HISTORY, 2),
        ENVIRONMENT: torch.randn(count, HISTORY, 1),
        ACTION: torch.rand(count, HORIZON, A) - 0.5,
    }


def answer(policy: Any, monkeypatch: Any, rows: torch.Tensor) -> list[int]:
    """Make the network say ``rows`` of everything; the list fills with the timesteps that it was asked for."""
    asked: list[int] = []

    def network(noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        asked.append(int(timestep[0]))
        return rows.expand_as(noisy)

    monkeypatch.setattr(policy.diffusion, "forward", network)
    return asked


def test_row_0_of_a_chunk_is_of_the_time_of_the_newest_observation(monkeypatch) -> None:
    policy = build(prediction_type="sample", clip_sample=False)
    answer(policy, monkeypatch, torch.arange(HORIZON).float()[:, None])
    chunk = policy.predict(SEEN)
    np.testing.assert_allclose(chunk[:, 0], np.arange(HISTORY - 1, HORIZON))
    assert policy.config.chunk_size == H == len(chunk)
    assert policy.config.target_rows == range(1 - HISTORY, H)


def test_select_action_looks_again_after_its_rows_and_then_sees_the_latest_observations(monkeypatch) -> None:
    policy, looks = build(), []
    condition = policy.diffusion.condition
    monkeypatch.setattr(policy.diffusion, "condition", lambda batch: (looks.append(batch[STATE]), condition(batch))[1])
    policy.reset()
    for step in range(5):
        state = np.full(2, step, np.float32)
        policy.select_action({STATE: state, ENVIRONMENT: np.zeros(1, np.float32)})
    assert [look[0, :, 0].tolist() for look in looks] == [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]


@pytest.mark.parametrize(("steps", "timesteps"), [(4, [15, 10, 5, 0]), (None, list(range(19, -1, -1)))])
@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_the_network_is_asked_once_for_each_step(monkeypatch, kind, steps, timesteps) -> None:
    policy = build(noise_scheduler_type=kind, num_inference_steps=steps)
    asked = answer(policy, monkeypatch, torch.zeros(1))
    policy.predict(SEEN)
    assert asked == timesteps


@pytest.mark.parametrize(
    ("kind", "said"),
    [("DDPM", "20 steps.*to fewer with noise_scheduler_type DDIM"), ("DDIM", "20 steps.*to fewer, or")],
)
def test_it_says_which_option_makes_it_faster(kind, said) -> None:
    assert re.search(said, build(noise_scheduler_type=kind, num_inference_steps=None).config.speed_advice)


def test_ddim_depends_on_the_first_noise_alone() -> None:
    policy = build()
    assert policy.config.noise_shape == (HORIZON, A)
    chunks = [policy.predict(SEEN, noise=noise(policy)) for _ in range(2)]
    np.testing.assert_array_equal(*chunks)
    assert np.abs(policy.predict(SEEN, noise=noise(policy, 1)) - chunks[0]).max() > 0.0


def test_ddpm_is_repeatable_with_all_of_its_noise_and_draws_what_is_not_given() -> None:
    policy = build(noise_scheduler_type="DDPM")
    assert policy.config.noise_shape == (4, HORIZON, A)
    everything = noise(policy)
    np.testing.assert_array_equal(*[policy.predict(SEEN, noise=everything) for _ in range(2)])
    chunks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        chunks.append(policy.predict(SEEN, noise=everything[:, 0]))
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert np.abs(chunks[0] - chunks[2]).max() > 0.0


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_noise_of_another_shape_is_refused(kind) -> None:
    with pytest.raises(ConfigurationError, match=r"noise: expected shape \(1, 8, 2\)"):
        build(noise_scheduler_type=kind).predict(SEEN, noise=np.zeros((1, H, A), np.float32))


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_clean_rows_are_clipped_only_where_the_policy_says_so(monkeypatch, kind) -> None:
    largest = []
    for clip in ({"clip_sample": True, "clip_sample_range": 0.5}, {"clip_sample": False}):
        policy = build(noise_scheduler_type=kind, prediction_type="sample", **clip)
        answer(policy, monkeypatch, torch.full((1,), 3.0))
        largest.append(np.abs(policy.predict(SEEN)).max())
    assert largest == pytest.approx([0.5, 3.0])


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("steps", [1, 2])
def test_every_camera_counts_and_none_stands_for_the_other(separate, steps) -> None:
    separately = {"use_separate_rgb_encoder_per_camera": separate}
    policy = build(**with_cameras(n_obs_steps=steps, **separately)).eval()
    seen = pictures(steps=steps)
    exchanged = {**seen, TOP: seen[WRIST], WRIST: seen[TOP]}
    start = noise(policy)
    chunks = policy.predict_batch([seen, exchanged], noise=np.concatenate((start, start)))
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-6
    for chunk, each in zip(chunks, (seen, exchanged), strict=True):
        np.testing.assert_allclose(chunk, policy.predict(each, noise=start), atol=1e-5)


def test_evaluation_looks_at_the_centre_and_training_anywhere() -> None:
    policy = build(**with_cameras(crop_shape=[36, 40])).eval()
    seen = pictures()
    inside = {key: value.copy() for key, value in seen.items()}
    for key in CAMERAS:
        inside[key][:] = 0
        inside[key][:, 2:38, 4:44] = seen[key][:, 2:38, 4:44]
    start = noise(policy)
    np.testing.assert_array_equal(policy.predict(seen, noise=start), policy.predict(inside, noise=start))

    batch = {key: torch.from_numpy(value[None, None]) for key, value in seen.items()}
    batch = {key: value.float() / 255 if key in CAMERAS else value for key, value in batch.items()}
    conditions = [policy.train().diffusion.condition(batch) for _ in range(4)]
    assert any(not torch.equal(conditions[0], other) for other in conditions[1:])


@pytest.mark.parametrize(
    ("changes", "size", "crop"),
    [
        ({}, (40, 48), None),
        ({"crop_shape": [35, 48]}, (40, 48), (35, 48)),
        ({"resize_shape": [33, 65]}, (33, 65), None),
        ({"resize_shape": [33, 65], "crop_ratio": 0.9}, (33, 65), (29, 58)),
        ({"resize_shape": [33, 65], "crop_shape": [20, 20]}, (33, 65), None),  # the ratio counts, as in LeRobot
    ],
)
def test_images_are_resized_then_cropped(changes, size, crop, monkeypatch) -> None:
    policy = build(**with_cameras(**changes))
    assert (policy.config.seen_size, policy.config.crop) == (size, crop)
    shapes = []
    for encoder in policy.diffusion.rgb_encoder:
        encoder.backbone.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[-2:])))
    policy.warmup()
    assert set(shapes) == {crop or size}
    assert policy.config.to_dict()["crop_shape"] == changes.get("crop_shape")


@pytest.mark.parametrize("changes", [{}, {"use_group_norm": False}, {"compile_model": True}, {"down_dims": [8]}])
def test_a_checkpoint_reads_back_equal(tmp_path, changes) -> None:
    policy = build(**with_cameras(use_separate_rgb_encoder_per_camera=False, **changes)).eval()
    policy.save_pretrained(tmp_path)
    again = load_policy(tmp_path, device="cpu")
    start = noise(policy)
    np.testing.assert_array_equal(again.predict(pictures(), noise=start), policy.predict(pictures(), noise=start))
    assert again.config == policy.config
    assert list(again.state_dict()) == list(policy.state_dict())


def test_weights_of_another_normalisation_are_refused(tmp_path) -> None:
    build(**with_cameras()).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "use_group_norm": False}))
    with pytest.raises(CheckpointError, match="running_mean"):
        load_policy(tmp_path, device="cpu")


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_the_network_is_shown_as_much_noise_as_the_timestep_says(monkeypatch, prediction) -> None:
    """Whoever knows the clean rows can tell the noise, and has no loss."""
    policy, batch = build(prediction_type=prediction), samples(64)
    target = policy.normalization.normalize(ACTION, batch[ACTION])

    def know(noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        alpha_bar = policy.alpha_bars[timestep][:, None, None]
        return target if prediction == "sample" else (noisy - alpha_bar.sqrt() * target) / (1 - alpha_bar).sqrt()

    monkeypatch.setattr(policy.diffusion, "forward", know)
    assert policy(batch)[0].item() < 1e-6


@pytest.mark.parametrize("masked", [True, False])
def test_padding_counts_in_the_loss_unless_it_is_masked(masked) -> None:
    policy, batch = build(do_mask_loss_for_padding=masked, prediction_type="sample"), samples()
    losses = []
    with torch.no_grad():  # a network that says nothing: the error of a row is the row
        for parameter in policy.diffusion.unet.final_conv[-1].parameters():
            parameter.zero_()
    batch["action_is_pad"] = torch.zeros(2, HORIZON, dtype=torch.bool)
    batch["action_is_pad"][:, 5:] = True
    for value in (0.0, 10.0):
        batch[ACTION][:, 5:] = value
        losses.append(policy(batch)[0].item())
    assert (losses[0] == losses[1]) is masked and min(losses) > 0.0
    batch["action_is_pad"][:] = True
    assert (policy(batch)[0].item() == 0.0) is masked


def test_samples_without_the_past_rows_are_refused() -> None:
    batch = samples()
    batch[ACTION] = batch[ACTION][:, HISTORY - 1 :]
    with pytest.raises(ConfigurationError, match=r"action: expected 8 rows \(horizon\)"):
        build()(batch)


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        policy = build(gradient_checkpointing=recompute).train()
        torch.manual_seed(2)
        policy(samples())[0].backward()
        gradients.append([parameter.grad for parameter in policy.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_it_learns_to_follow_what_it_observes() -> None:
    """Rows that move from the older to the newer state; a few seconds of training."""

    def moves(count: int) -> dict[str, torch.Tensor]:
        state = torch.rand(count, HISTORY, 2) * 1.6 - 0.8
        rows = torch.linspace(0.0, 1.0, HORIZON)[:, None]
        batch = {STATE: state, ENVIRONMENT: torch.zeros(count, HISTORY, 1)}
        return {**batch, ACTION: (1.0 - rows) * state[:, :1] + rows * state[:, -1:]}

    policy = build(prediction_type="sample", down_dims=[16, 32]).train()
    optimizer = torch.optim.Adam(policy.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=120)
    losses = []
    for _ in range(120):
        loss, _ = policy(moves(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.1 * np.mean(losses[:5])
    test = moves(32)
    chunks = policy.predict_batch([{key: test[key][i].numpy() for key in (STATE, ENVIRONMENT)} for i in range(32)])
    assert np.abs(chunks - test[ACTION][:, HISTORY - 1 :].numpy()).mean() < 0.12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 6}, "horizon: expected a multiple of 4"),
        ({"horizon": 2}, "horizon: expected a value from 3"),
        ({"n_action_steps": 7}, "n_action_steps: expected a value from 1 to 6"),
        ({"num_inference_steps": 21}, "num_inference_steps: expected a value from 1 to 20"),
        (
            {
                "noise_scheduler_type": "DDPM",
                "num_train_timesteps": 10000,
                "num_inference_steps": 10000,
                "horizon": 4096,
                "output_features": {"action": {"type": "ACTION", "shape": [8]}},
            },
            "values of noise",
        ),
        (with_cameras(resize_shape=[4096, 4096], n_obs_steps=3), "values in resized images"),
        ({"noise_scheduler_type": "PNDM"}, "noise_scheduler_type"),
        ({"prediction_type": "v_prediction"}, "prediction_type"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule: expected one of .* with DDIM"),
        ({"beta_schedule": "linear", "beta_start": 0.0}, "beta_start and beta_end"),
        ({"clip_sample_range": 0.0}, "clip_sample_range"),
        ({"down_dims": []}, "number of down_dims"),
        ({"down_dims": [8, 18]}, "down_dims: expected multiples of n_groups=4, got 18"),
        ({"down_dims": [12, 16]}, "down_dims: expected the first to be a multiple of 8"),
        ({"kernel_size": 4}, "kernel_size: expected an odd number"),
        ({"diffusion_step_embed_dim": 2}, "diffusion_step_embed_dim"),
        ({"diffusion_step_embed_dim": 9}, "diffusion_step_embed_dim: expected an even number"),
        ({"optimizer_betas": [0.9]}, "optimizer_betas"),
        ({"input_features": {ENVIRONMENT: VECTORS[ENVIRONMENT]}}, "expected observation.state"),
        ({"input_features": {STATE: VECTORS[STATE]}}, "expected at least one image"),
        (with_cameras(crop_shape=[41, 20]), r"crop: expected it to fit into images of \(40, 48\)"),
        (with_cameras(crop_shape=[20]), "crop_shape: expected height and width"),
        (with_cameras(resize_shape=[0, 9]), "resize_shape"),
        (with_cameras(resize_shape=[9, 9], crop_ratio=0.05), "crop"),
        (with_cameras(crop_ratio=0.0), "crop_ratio"),
        (with_cameras(pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1"), "pretrained_backbone_weights"),
        (
            {"input_features": {**VECTORS, **CAMERAS, TOP: {"type": "VISUAL", "shape": [3, 20, 20]}}},
            "expected images of one size",
        ),
    ],
)
def test_options_that_cannot_work_are_refused(changes, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**changes)
