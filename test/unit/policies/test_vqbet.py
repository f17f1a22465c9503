# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.nn.keypoint_encoder import center_crop, random_crop
from policy_ros.policies.nn.residual_vq import ResidualQuantizer
from policy_ros.policies.seeded import draw_noise
from policy_ros.policies.vqbet.sampling import draw_codes

T, H, A = 2, 3, 2
CAMERA = "observation.images.top"
FEATURES = {
    "input_features": {
        "observation.state": {"type": "STATE", "shape": [2]},
        CAMERA: {"type": "VISUAL", "shape": [3, 16, 20]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [A]}},
}


def options(**changes: Any) -> dict[str, Any]:
    return {
        **FEATURES,
        "n_obs_steps": T,
        "n_action_pred_token": 2,
        "action_chunk_size": H,
        "crop_shape": None,
        "use_group_norm": True,
        "spatial_softmax_num_keypoints": 4,
        "n_vqvae_training_steps": 3,
        "vqvae_n_embed": 6,
        "vqvae_embedding_dim": 8,
        "vqvae_enc_hidden_dim": 32,
        "gpt_block_size": 16,
        "gpt_input_dim": 16,
        "gpt_output_dim": 16,
        "gpt_hidden_dim": 16,
        "gpt_n_head": 2,
        "gpt_n_layer": 1,
        "dropout": 0.0,
        "bet_softmax_temperature": 1.0,
        "offset_loss_weight": 10.0,
        **changes,
    }


def build(**changes: Any):
    torch.manual_seed(0)
    return make_policy("vqbet", options(**changes), device="cpu")


def observation(seed: int = 0, steps: int | None = T) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    leading = () if steps is None else (steps,)
    return {
        "observation.state": random.normal(size=(*leading, 2)).astype(np.float32),
        CAMERA: random.integers(0, 256, (*leading, 3, 16, 20), dtype=np.uint8),
    }


def samples(policy, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Row r of the actions is the newest state and r."""
    generator = torch.Generator().manual_seed(seed)
    state = 0.4 * (2 * torch.rand(count, T, 2, generator=generator) - 1)
    rows = torch.tensor(policy.config.target_rows, dtype=torch.float32)
    return {
        "observation.state": state,
        CAMERA: torch.zeros(count, T, 3, 16, 20, dtype=torch.uint8),
        "action": state[:, -1:] + rows[:, None],
    }


def noise(seed: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 2)).astype(np.float32)


# --- configuration


def test_an_image_a_state_and_an_action_are_enough():
    config = make_policy("vqbet", {**FEATURES, "crop_shape": None}, device="cpu").config
    assert (config.n_obs_steps, config.chunk_size, config.n_action_steps) == (5, 5, 5)
    assert list(config.target_rows) == list(range(-4, 7))


@pytest.mark.parametrize("rows", [None, 2])
def test_rows_that_are_executed_are_in_the_file_only_where_they_are_not_all(rows: int | None, tmp_path: Path):
    policy = build(**({} if rows is None else {"n_action_steps": rows}))
    policy.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()).get("n_action_steps") == rows
    assert load_policy(tmp_path, device="cpu").config.n_action_steps == (rows or H)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpt_hidden_dim": 15}, "gpt_hidden_dim: expected a multiple of gpt_n_head=2, got 15"),
        ({"gpt_block_size": 6}, "gpt_block_size: expected at least the 7 tokens"),
        ({"crop_shape": [17, 4]}, "crop_shape"),
        ({"crop_shape": [4]}, "crop_shape"),
        ({"pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1"}, "use_group_norm: expected false"),
        ({"bet_softmax_temperature": 0.0}, "bet_softmax_temperature"),
        ({"vision_backbone": "vgg"}, "vision_backbone: expected one of resnet18"),
        ({"n_action_steps": 4}, "n_action_steps: expected a value from 1 to 3"),
        ({"n_action_pred_token": 0}, "n_action_pred_token"),
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigurationError, match=message.replace("[", r"\[")):
        build(**changes)


@pytest.mark.parametrize(
    "inputs",
    [
        {"observation.state": FEATURES["input_features"]["observation.state"]},
        {CAMERA: FEATURES["input_features"][CAMERA]},
        {**FEATURES["input_features"], "observation.images.wrist": FEATURES["input_features"][CAMERA]},
    ],
    ids=["no image", "no state", "two images"],
)
def test_other_inputs_than_a_state_and_one_image_are_refused(inputs: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=r"expected observation.state and exactly one image"):
        build(input_features=inputs)


def test_a_further_input_that_makes_the_network_look_past_its_tokens_is_refused():
    further = {**FEATURES["input_features"], "observation.environment_state": {"type": "ENV", "shape": [4]}}
    assert build(input_features=further, n_obs_steps=1).config.observed_features.keys() == {
        "observation.state",
        CAMERA,
    }
    with pytest.raises(ConfigurationError, match=r"expected observation.state and an image alone"):
        build(input_features=further, n_obs_steps=3)


# --- drawing codes


@pytest.mark.parametrize("sequentially", [False, True])
def test_noise_decides_the_chunk_and_nothing_else_does(sequentially: bool):
    policy = build(sequentially_select=sequentially)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = policy.predict(observation(), noise=noise(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.testing.assert_array_equal(policy.predict(observation(), noise=noise(0)), first)
    assert any(not np.array_equal(policy.predict(observation(), noise=noise(seed)), first) for seed in range(1, 20))


def test_without_noise_the_global_generator_decides():
    policy = build()
    chunks = []
    for seed in (3, 3, *range(4, 24)):
        torch.manual_seed(seed)
        chunks.append(policy.predict(observation()))
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert any(not np.array_equal(chunk, chunks[0]) for chunk in chunks)


def test_noise_of_another_shape_is_refused():
    policy = build()
    with pytest.raises(ConfigurationError, match=r"noise: expected shape \(1, 2\), got \(1, 3, 2\)"):
        policy.predict(observation(), noise=np.zeros((1, H, A), np.float32))


def test_noise_from_a_generator_fits():
    policy = build()
    drawn = draw_noise(policy.config, np.random.default_rng(0))
    assert policy.predict(observation(), noise=drawn).shape == (H, A)


def test_a_batch_answers_what_its_observations_answer_alone():
    policy = build()
    seen = [observation(seed) for seed in range(3)]
    together = policy.predict_batch(seen, noise=noise(0, batch=3))
    for index, each in enumerate(seen):
        np.testing.assert_allclose(
            policy.predict(each, noise=noise(0, batch=3)[index : index + 1]), together[index], atol=1e-5
        )


def test_codes_are_drawn_as_often_as_they_are_likely():
    likely = torch.tensor([0.1, 0.0, 0.6, 0.3, 0.0])
    evenly = torch.special.ndtri((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)
    codes = draw_codes(likely.log().expand(1000, 5), 1.0, evenly)
    assert torch.bincount(codes, minlength=5).tolist() == [100, 0, 600, 300, 0]


def test_a_low_temperature_draws_the_likeliest_code_and_a_high_one_any():
    logits = torch.tensor([1.0, 2.0, 0.0]).expand(500, 3)
    drawn = torch.randn(500, generator=torch.Generator().manual_seed(0))
    assert draw_codes(logits, 0.01, drawn).unique().tolist() == [1]
    assert draw_codes(logits, 100.0, drawn).unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("extreme", [-1e30, -40.0, 40.0, 1e30])
def test_no_noise_draws_an_impossible_code(extreme: float):
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    assert draw_codes(logits, 1.0, torch.tensor([extreme])).item() == (1 if extreme < 0 else 2)


# --- policy


def test_it_cannot_be_guided():
    policy = build()
    assert not policy.config.supports_guidance
    with pytest.raises(ConfigurationError, match="cannot be guided"):
        policy.guided_inference(observation(), prefix=np.zeros((H, A), np.float32), delay=1, execution_horizon=1)


def test_select_action_keeps_the_history_and_asks_again_when_the_chunk_is_used_up():
    policy = build()
    policy.reset()
    seen = [observation(seed, steps=None) for seed in range(2 * H)]
    drawn = [noise(seed) for seed in range(2 * H)]
    actions = [policy.select_action(each, noise=z) for each, z in zip(seen, drawn, strict=True)]

    def chunk(*indices: int) -> np.ndarray:
        window = {key: np.stack([seen[index][key] for index in indices]) for key in seen[0]}
        return policy.predict(window, noise=drawn[indices[-1]])

    np.testing.assert_array_equal(actions[:H], chunk(0, 0))
    np.testing.assert_array_equal(actions[H:], chunk(H - 1, H))


def test_evaluation_looks_at_the_centre_and_training_anywhere():
    image = torch.arange(7.0 * 9.0).view(1, 7, 9)
    assert center_crop(image, (4, 4))[0, 0, 0] == image[0, 2, 2]  # half of an odd margin: to the even number
    torch.manual_seed(0)
    corners = {random_crop(image, (4, 4))[0, 0, 0].item() for _ in range(200)}
    assert corners == {image[0, row, column].item() for row in range(4) for column in range(6)}
    state = torch.get_rng_state()
    assert random_crop(image, (7, 9)) is image
    assert torch.equal(torch.get_rng_state(), state)


def test_a_policy_whose_codes_mean_nothing_says_so_once(caplog):
    policy = build()
    with caplog.at_level(logging.WARNING):
        policy.predict(observation())
        policy.predict(observation())
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "this VQ-BeT never finished the first phase of its training (n_vqvae_training_steps=3), which learns what its "
        "codes mean"
    ]
    trained = build()
    trained.tokenizer.discretized.fill_(True)
    caplog.clear()
    trained.predict(observation())
    assert not caplog.records


# --- codes


def test_codebooks_move_to_what_they_stand_for_unless_frozen_or_evaluated():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(dim=4, size=3, layers=2)
    centres = torch.tensor([[3.0, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 3.0, 3.0]])
    with torch.no_grad():
        quantizer.codebooks[0].embed.copy_(centres + 0.5)
    x = centres.repeat(20, 1)
    before = [book.embed.clone() for book in quantizer.codebooks]
    quantizer.eval()(x)
    quantizer.train().freeze_codebook.fill_(True)
    quantizer(x)
    assert all(torch.equal(book.embed, kept) for book, kept in zip(quantizer.codebooks, before, strict=True))
    quantizer.freeze_codebook.fill_(False)
    first = quantizer(x).commitment
    for _ in range(60):
        last = quantizer(x)
    assert last.commitment < 0.01 * first
    torch.testing.assert_close(quantizer.lookup(last.codes), x, atol=0.05, rtol=0)


def test_gradients_pass_straight_through_each_layer():
    torch.manual_seed(0)
    x = torch.randn(5, 4, requires_grad=True)
    ResidualQuantizer(dim=4, size=3, layers=2)(x).vectors.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((5, 4), 2.0))


# --- training


def test_the_phases_follow_each_other_and_a_checkpoint_knows_which(tmp_path: Path):
    policy = build().train()
    batch = samples(policy, 4)
    phases = []
    for _ in range(5):
        phases.append(policy.training_phase)
        parts = policy(batch)[1]
        assert ("recon_l1_error" in parts) == (phases[-1] == 0)
    assert phases == [0, 0, 0, 1, 1]
    vectors = [book.embed.clone() for book in policy.tokenizer.vq_layer.codebooks]
    policy(batch)
    assert all(torch.equal(b.embed, kept) for b, kept in zip(policy.tokenizer.vq_layer.codebooks, vectors, strict=True))
    policy.save_pretrained(tmp_path)
    assert load_policy(tmp_path, device="cpu").training_phase == 1


def test_validation_is_no_step_of_the_first_phase():
    policy = build().eval()
    for _ in range(10):
        policy(samples(policy, 4))
    assert policy.training_phase == 0


def test_the_first_phase_goes_on_where_it_was():
    policy = build().train()
    policy.resume_training(2)
    policy(samples(policy, 4))
    assert policy.training_phase == 1


def test_it_learns_codes_then_chunks_that_begin_at_the_observation():
    policy = build(n_vqvae_training_steps=120, bet_softmax_temperature=0.1, crop_shape=[2, 2]).train()
    policy.vqbet.rgb_encoder.requires_grad_(False)  # there is nothing to see, and it is most of the work
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=5e-3)
    losses: dict[int, list[float]] = {0: [], 1: []}
    for step in range(200):
        phase = policy.training_phase
        loss, _ = policy(samples(policy, 8, seed=step))
        losses[phase].append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for phase in losses.values():
        assert np.mean(phase[-20:]) < 0.4 * np.mean(phase[:20])
    held_out = samples(policy, 8, seed=10_000)
    errors = []
    for index in range(8):
        seen = {key: held_out[key][index].numpy() for key in ("observation.state", CAMERA)}
        rows = held_out["action"][index, policy.config.target_rows.index(0) :][:H]
        errors.append(np.abs(policy.predict(seen, noise=noise(index)) - rows.numpy()).mean())
    assert np.mean(errors) < 0.4  # rows are 1 apart


@pytest.mark.parametrize(
    "changes",
    [
        {"sequentially_select": True},
        {"n_action_pred_token": 1},
        {"crop_shape": [8, 9], "use_group_norm": False, "dropout": 0.3},
    ],
)
def test_everything_learns_in_one_of_the_phases(changes: dict[str, Any]):
    policy = build(**{"n_vqvae_training_steps": 1, **changes}).train()
    learning = []
    for _ in range(2):
        policy.zero_grad()
        policy(samples(policy, 4))[0].backward()
        learning.append({name for name, p in policy.named_parameters() if p.grad is not None})
    names = {name for name, _ in policy.named_parameters()}
    assert learning[0] == {name for name in names if ".vqvae_model." in name}
    assert learning[1] == names - learning[0]


def test_a_changed_chunk_is_executed_whole():
    config = build().config
    assert dataclasses.replace(config, action_chunk_size=4, n_action_steps=0).n_action_steps == 4
