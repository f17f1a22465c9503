# SPDX-License-Identifier: Apache-2.0
"""The statistics of a dataset against numpy on all frames at once."""

from __future__ import annotations

import numpy as np

from policy_ros.lerobot_dataset.statistics import QUANTILES, ImageStatistics, merge, vector_statistics

RANDOM = np.random.default_rng(0)
EPISODES = [RANDOM.normal(scale=index + 1, size=(length, 3)) for index, length in enumerate((1, 50, 7))]


def test_merged_statistics_are_those_of_all_frames():
    total = None
    for episode in EPISODES:
        total = merge(total, vector_statistics(episode))
    frames = np.concatenate(EPISODES)
    assert total is not None
    np.testing.assert_allclose(total["mean"], frames.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total["std"], frames.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(total["min"], frames.min(axis=0))
    np.testing.assert_array_equal(total["max"], frames.max(axis=0))
    assert total["count"].tolist() == [58]


def test_merged_quantiles_are_the_episodes_weighted_by_their_frames():
    total = None
    for episode in EPISODES:
        total = merge(total, vector_statistics(episode))
    assert total is not None
    for name in QUANTILES:
        wanted = sum(len(e) * vector_statistics(e)[name] for e in EPISODES) / 58
        np.testing.assert_allclose(total[name], wanted)


def test_a_constant_far_from_zero_has_no_deviation():
    """The mean of squares less the square of the mean would have one in float32."""
    statistics = vector_statistics(np.full((500, 1), 1234.567, dtype=np.float32))
    assert statistics["std"].tolist() == [0.0]


def test_image_statistics_are_those_of_all_pixels_for_each_channel():
    images = RANDOM.integers(20, 240, size=(5, 3, 8, 6), dtype=np.uint8)
    statistics = ImageStatistics()
    for image in images:
        statistics.add(image)
    pixels = images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    result = statistics.result()
    for name, wanted in {
        "min": pixels.min(axis=1),
        "max": pixels.max(axis=1),
        "mean": pixels.mean(axis=1),
        "std": pixels.std(axis=1),
        **{name: np.quantile(pixels, q, axis=1, method="inverted_cdf") for name, q in QUANTILES.items()},
    }.items():
        assert result[name].shape == (3, 1, 1)
        np.testing.assert_allclose(result[name].ravel(), wanted, atol=1e-12, err_msg=name)
    assert result["count"].tolist() == [5]
