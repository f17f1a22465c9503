# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.nn.frozen_batch_norm import FrozenBatchNorm2d
from policy_ros.policies.nn.position import sinusoidal_positions, sinusoidal_positions_2d
from policy_ros.policies.nn.resnet import ResNet


def camera(height: int, width: int) -> dict[str, object]:
    return {"type": "VISUAL", "shape": [3, height, width]}


def training_batch(batch: int = 2, horizon: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "observation.state": torch.randn(batch, 3, generator=generator),
        "observation.environment_state": torch.randn(batch, 4, generator=generator),
        "action": torch.randn(batch, horizon, 2, generator=generator),
    }


@pytest.mark.parametrize(
    ("name", "dilated", "channels", "side", "parameters"),
    [
        # Parameter counts of torchvision's networks without classifier and batch normalisation.
        ("resnet18", False, 512, 2, 11_166_912),
        ("resnet34", False, 512, 2, 21_267_648),
        ("resnet50", False, 2048, 2, 23_454_912),
        ("resnet50", True, 2048, 4, 23_454_912),
    ],
)
def test_a_backbone_has_the_known_size_and_stride(name, dilated, channels, side, parameters):
    backbone = ResNet(name, dilate_last_stage=dilated)
    assert sum(p.numel() for p in backbone.parameters()) == parameters
    assert backbone.out_channels == channels
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, channels, side, side)


def test_a_numbered_backbone_is_the_same_network():
    backbone = ResNet("resnet18")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.nn.Sequential(*backbone.children())(image), backbone(image))


def test_frozen_batch_norm_equals_batch_norm_in_evaluation():
    generator = torch.Generator().manual_seed(0)
    usual, frozen = torch.nn.BatchNorm2d(4).eval(), FrozenBatchNorm2d(4)
    for name, value in usual.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            assert name in frozen.state_dict()
    frozen.load_state_dict(usual.state_dict())
    x = torch.randn(2, 4, 3, 3, generator=generator)
    torch.testing.assert_close(frozen(x), usual(x))
    assert not list(frozen.parameters())


def test_positions_are_sines_and_cosines_of_falling_rate():
    table = sinusoidal_positions(5, 4)
    expected = [np.sin(3), np.cos(3), np.sin(3 / 100), np.cos(3 / 100)]
    np.testing.assert_allclose(table[3].numpy(), expected, atol=1e-6)


def test_positions_in_an_image_tell_rows_from_columns():
    table = sinusoidal_positions_2d(3, 5, 8, torch.device("cpu"))
    assert table.shape == (8, 3, 5)
    assert torch.equal(table[:4, :, 0], table[:4, :, 4])  # the first half knows the row only
    assert torch.equal(table[4:, 0], table[4:, 2])  # the second half the column only
    angle = 2 * np.pi * 2 / 3
    np.testing.assert_allclose(table[:2, 1, 0].numpy(), [np.sin(angle), np.cos(angle)], atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_norm": True, "feedforward_activation": "gelu", "n_decoder_layers": 3},
        {"use_vae": False},
        {"input_features": {"observation.environment_state": {"type": "ENV", "shape": [4]}}},
        {"input_features": {"observation.images.a": camera(32, 48), "observation.images.b": camera(64, 32)}},
    ],
)
def test_combinations_of_options_predict_train_and_reload(options, changes, tmp_path):
    torch.manual_seed(0)
    policy = make_policy("act", options(**changes), device="cpu")
    policy.warmup()
    inputs = policy.config.input_features
    batch = {key: torch.rand(2, *spec.shape) for key, spec in inputs.items()} | {"action": torch.rand(2, 6, 2)}
    loss, parts = policy.train()(batch)
    loss.backward()
    assert set(parts) == ({"l1_loss", "kld_loss"} if policy.config.use_vae else {"l1_loss"})
    assert all(p.grad is not None for p in policy.parameters())
    policy.save_pretrained(tmp_path)
    observation = {
        key: np.full(spec.shape, 7, np.uint8 if len(spec.shape) == 3 else np.float32) for key, spec in inputs.items()
    }
    np.testing.assert_array_equal(load_policy(tmp_path, device="cpu").predict(observation), policy.predict(observation))


def test_an_image_of_another_size_is_resized(options):
    torch.manual_seed(0)
    policy = make_policy("act", options(input_features={"observation.images.a": camera(32, 32)}), device="cpu")
    even = {"observation.images.a": np.full((3, 48, 64), 90, np.uint8)}
    same = {"observation.images.a": np.full((3, 32, 32), 90, np.uint8)}
    np.testing.assert_allclose(policy.predict(even), policy.predict(same), atol=1e-5)


def test_the_loss_does_not_see_padded_rows(build):
    policy, batch = build(), training_batch()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    changed = {**batch, "action": batch["action"].clone()}
    changed["action"][1, 4:] = 1e3
    for training in (False, True):
        policy.train(training)
        losses = []
        for candidate in (batch, changed):
            torch.manual_seed(0)
            losses.append(policy({**candidate, "action_is_pad": padding})[0].item())
        assert losses[0] == pytest.approx(losses[1])


def test_a_batch_without_padding_counts_every_row(build):
    policy, batch = build().eval(), training_batch()
    explicit = {**batch, "action_is_pad": torch.zeros(2, 6, dtype=torch.bool)}
    assert policy(batch)[0].item() == policy(explicit)[0].item()


def test_the_loss_is_of_normalised_actions(build):
    policy, batch = build().eval(), training_batch(batch=1)
    chunk = policy.predict_normalized({k: v[0].numpy() for k, v in batch.items() if k != "action"})
    target = policy.normalization.normalize("action", batch["action"])
    assert policy(batch)[0].item() == pytest.approx((chunk - target).abs().mean().item(), rel=1e-5)


def test_a_dilated_bottleneck_backbone_fits_the_transformer(options):
    features = {"observation.images.a": camera(32, 32)}
    changes = {"vision_backbone": "resnet50", "replace_final_stride_with_dilation": True}
    make_policy("act", options(input_features=features, **changes), device="cpu").warmup()


def test_a_small_backbone_for_training_from_scratch_comes_back_from_its_checkpoint(options, tmp_path):
    features = {"observation.images.a": camera(64, 64)}
    changes = {"backbone_width": 8, "backbone_stages": 3, "backbone_norm": "group_norm"}
    policy = make_policy("act", options(input_features=features, **changes), device="cpu")
    assert policy.model.backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 32, 4, 4)
    assert all(p.requires_grad for p in policy.model.backbone.parameters())
    policy.save_pretrained(tmp_path)
    image = {"observation.images.a": np.full((3, 64, 64), 90, np.uint8)}
    assert np.array_equal(load_policy(tmp_path, device="cpu").predict(image), policy.predict(image))


def test_training_reduces_the_loss(build):
    policy, batch = build(dropout=0.0, use_vae=False).train(), training_batch()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss, _ = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses
