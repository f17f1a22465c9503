# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ObservationError
from policy_ros.policies.inputs import check, image_to_float, rename, stack

FEATURES = {
    "observation.state": FeatureSpec(FeatureType.STATE, (2,)),
    "observation.images.top": FeatureSpec(FeatureType.VISUAL, (3, 8, 8)),
}


def observation(**changes):
    plain = {
        "observation.state": np.zeros(2, np.float32),
        "observation.images.top": np.zeros((3, 8, 8), np.uint8),
        "task": "pick",
    }
    return {**plain, **changes}


def test_a_fitting_observation_passes_and_further_keys_are_left_out():
    assert set(check(observation(unused=np.zeros(3)), FEATURES, None)) == set(FEATURES)


def test_an_image_of_any_size_passes():
    check(observation(**{"observation.images.top": np.zeros((3, 48, 64), np.uint8)}), FEATURES, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("observation.state", np.zeros(3, np.float32), r"expected \(2,\) float32, got \(3,\) float32"),
        ("observation.state", np.zeros((1, 2), np.float32), r"got \(1, 2\)"),
        ("observation.state", np.zeros(2, np.int64), "int64"),
        ("observation.state", [0.0, 0.0], "expected an array .* got list"),
        ("observation.images.top", np.zeros((3, 8, 8), np.float32), r"expected \(3, H, W\) uint8.*float32"),
        ("observation.images.top", np.zeros((8, 8, 3), np.uint8), r"got \(8, 8, 3\)"),
        ("observation.images.top", np.zeros((8, 8), np.uint8), r"got \(8, 8\)"),
        ("observation.images.top", np.zeros((3, 0, 8), np.uint8), r"got \(3, 0, 8\)"),
        ("observation.images.top", np.zeros((3, 1, 5000), np.uint8), r"got \(3, 1, 5000\)"),
    ],
)
def test_a_wrong_array_is_refused_by_name(key, value, message):
    with pytest.raises(ObservationError, match=f"'{key}'.*{message}"):
        check(observation(**{key: value}), FEATURES, None)


def test_arrays_that_torch_cannot_take_become_ones_that_it_can():
    """A picture with its channels reversed, and numbers as they come from a network."""
    picture = np.arange(192, dtype=np.uint8).reshape(3, 8, 8)
    state = np.array([1.0, 2.0], ">f8")
    batch = stack([check({"observation.state": state, "observation.images.top": picture[::-1]}, FEATURES, None)])
    assert torch.tensor(batch["observation.state"]).tolist() == [[1.0, 2.0]]
    assert torch.equal(torch.tensor(batch["observation.images.top"])[0], torch.tensor(picture).flip(0))


def test_a_missing_feature_is_named():
    with pytest.raises(ObservationError, match=r"missing observation\.images\.top; got observation\.state"):
        check({"observation.state": np.zeros(2, np.float32)}, FEATURES, None)


def test_a_history_has_a_leading_time_axis():
    history = {"observation.state": np.zeros((4, 2), np.float32)}
    state_only = {"observation.state": FEATURES["observation.state"]}
    assert check(history, state_only, 4)["observation.state"].shape == (4, 2)
    with pytest.raises(ObservationError, match=r"expected \(3, 2,\) float32, got \(4, 2\)"):
        check(history, state_only, 3)


def test_a_source_key_is_renamed_and_others_stay():
    renamed = rename({"front": np.ones(1), "b": np.zeros(1)}, {"front": "top"})
    assert set(renamed) == {"top", "b"}


def test_a_key_given_under_both_names_is_refused():
    with pytest.raises(ObservationError, match="top given twice"):
        rename({"front": np.ones(1), "top": np.zeros(1)}, {"front": "top"})


def test_an_image_of_the_right_size_is_only_scaled():
    image = torch.arange(3 * 4 * 4, dtype=torch.uint8).reshape(1, 3, 4, 4)
    torch.testing.assert_close(image_to_float(image, (4, 4)), image.float() / 255, rtol=0, atol=0)


def test_a_shrunk_image_averages_what_it_covers():
    stripes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 200  # finer than the result can show: without antialiasing this would be all or nothing
    small = image_to_float(stripes, (8, 8)) * 255
    assert small.shape == (1, 3, 8, 8)
    torch.testing.assert_close(small[..., 1:-1], torch.full((1, 3, 8, 6), 100.0), atol=4.0, rtol=0)
    torch.testing.assert_close(small, small.round())


def test_resizing_keeps_batch_and_time_apart():
    image = torch.randint(0, 256, (2, 4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = image_to_float(image, (8, 12))
    assert whole.shape == (2, 4, 3, 8, 12)
    torch.testing.assert_close(whole[1, 2], image_to_float(image[1, 2][None], (8, 12))[0])


def test_a_float_image_is_taken_as_it_is():
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(image_to_float(image, (4, 4)), image)
