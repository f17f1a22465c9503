# SPDX-License-Identifier: Apache-2.0
"""Several observations in one pass through the network answer as each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.errors import ConfigurationError, ObservationError
from policy_ros.policies import make_policy
from policy_ros.policies.base import Policy
from policy_ros.policies.relative import RelativeActions
from policy_ros.policies.seeded import SeededPolicy, draw_noise

IMAGE = "observation.images.top"
STATE = "observation.state"


def tiny(name: str, **changes: Any) -> Policy:
    torch.manual_seed(0)
    options = {
        "input_features": {
            STATE: {"type": "STATE", "shape": [2]},
            IMAGE: {"type": "VISUAL", "shape": [3, 32, 32]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        "chunk_size": 6,
        "n_action_steps": 6,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "pretrained_backbone_weights": None,
        **changes,
    }
    return make_policy(name, options, device="cpu")


def seen(seed: int, size: tuple[int, int] = (32, 32)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        STATE: random.standard_normal(2).astype(np.float32),
        IMAGE: random.integers(0, 256, (3, *size), dtype=np.uint8),
    }


@pytest.mark.parametrize("size", [(32, 32), (40, 56)])
def test_a_batch_equals_single_predictions_but_for_rounding(size: tuple[int, int]):
    policy = tiny("act")
    observations = [seen(seed, size) for seed in range(5)]
    chunks = policy.predict_batch(observations)
    assert chunks.shape == (5, 6, 2) and chunks.dtype == np.float32
    assert np.ptp(chunks, axis=0).max() > 1e-3, "the observations make a difference"
    for chunk, observation in zip(chunks, observations, strict=True):
        np.testing.assert_allclose(chunk, policy.predict(observation), rtol=1e-4, atol=1e-5)


def test_each_row_of_noise_belongs_to_its_observation():
    policy = tiny("flow")
    observations = [seen(seed) for seed in range(3)]
    noise = np.random.default_rng(1).standard_normal((3, 6, 2)).astype(np.float32)
    chunks = policy.predict_batch(observations, noise=noise)
    for index, observation in enumerate(observations):
        alone = policy.predict(observation, noise=noise[index : index + 1])
        np.testing.assert_allclose(chunks[index], alone, rtol=1e-4, atol=1e-5)


def test_relative_actions_start_from_the_state_of_their_own_observation():
    policy = tiny("act")
    policy.relative = RelativeActions((True, True))
    observations = [seen(seed) for seed in range(3)]
    chunks = policy.predict_batch(observations)
    for chunk, observation in zip(chunks, observations, strict=True):
        np.testing.assert_allclose(chunk, policy.predict(observation), rtol=1e-4, atol=1e-5)


def test_images_of_different_sizes_cannot_be_one_batch():
    with pytest.raises(ObservationError, match="expected one size in a batch, got \\(3, 32, 32\\), \\(3, 40, 56\\)"):
        tiny("act").predict_batch([seen(0), seen(1, (40, 56))])


def test_no_observation_is_refused():
    with pytest.raises(ObservationError, match="expected at least one, got none"):
        tiny("act").predict_batch([])


def test_noise_for_another_number_of_observations_is_refused():
    with pytest.raises(ConfigurationError, match="noise: expected shape"):
        tiny("flow").predict_batch([seen(0), seen(1)], noise=np.zeros((1, 6, 2), np.float32))


def test_a_seeded_policy_repeats_its_chunks_and_goes_on_with_its_noise_after_a_reset():
    policy = tiny("flow")

    def chunks() -> list[np.ndarray]:
        seeded = SeededPolicy(policy, np.random.default_rng(3))
        first = seeded.predict(seen(0))
        seeded.reset()
        return [first, seeded.predict(seen(0))]

    once, again = chunks(), chunks()
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once[0], once[1])


def test_a_policy_without_noise_gets_none():
    generator = np.random.default_rng(0)
    assert draw_noise(tiny("act").config, generator) is None
    assert draw_noise(tiny("flow").config, generator).shape == (1, 6, 2)
