# SPDX-License-Identifier: Apache-2.0
"""Reference numbers: LeRobot 0.6.1's normalizer and unnormalizer on the same statistics and value."""

from __future__ import annotations

import pytest
import torch

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import CheckpointError
from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import FeatureNormalizer, Normalization

VALUE = torch.tensor([0.25, 0.75, -1.5])

# The second component's range is zero in every mode but QUANTILE10.
STATISTICS = {
    "min": [-2.0, 0.5, 1.0],
    "max": [2.0, 0.5, 4.0],
    "mean": [0.5, -1.0, 2.0],
    "std": [0.5, 0.0, 3.0],
    "q01": [-1.5, 0.25, 1.5],
    "q99": [1.5, 0.25, 3.5],
    "q10": [-1.0, 0.0, 2.0],
    "q90": [1.0, 2.0, 3.0],
}

REFERENCE = {  # mode: (normalised, un-normalised)
    "MIN_MAX": ([0.125, 5e7, -2.6666665077209473], [0.5, 0.5, 0.25]),
    "MEAN_STD": ([-0.5, 1.75e8, -1.1666666269302368], [0.625, -1.0, -2.5]),
    "IDENTITY": ([0.25, 0.75, -1.5], [0.25, 0.75, -1.5]),
    "QUANTILES": ([0.16666662693023682, 1e8, -4.0], [0.375, 0.25, 1.0]),
    "QUANTILE10": ([0.25, -0.25, -8.0], [0.25, 1.75, 1.75]),
}


def normalizer(mode: str, spec: FeatureSpec | None = None, **changes: torch.Tensor) -> FeatureNormalizer:
    values = {**{name: torch.tensor(numbers) for name, numbers in STATISTICS.items()}, **changes}
    spec = spec or FeatureSpec(FeatureType.STATE, (3,))
    return FeatureNormalizer("key", spec, NormalizationMode(mode), values, eps=1e-8)


@pytest.mark.parametrize("mode", REFERENCE)
def test_both_directions_equal_the_reference(mode):
    forward, backward = REFERENCE[mode]
    torch.testing.assert_close(normalizer(mode).normalize(VALUE), torch.tensor(forward), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(normalizer(mode).unnormalize(VALUE), torch.tensor(backward), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", REFERENCE)
def test_there_and_back_is_the_same_value(mode):
    pair = normalizer(mode, std=torch.ones(3), max=torch.full((3,), 9.0), q99=torch.full((3,), 9.0))
    torch.testing.assert_close(pair.unnormalize(pair.normalize(VALUE)), VALUE)


def test_statistics_of_an_image_work_per_channel_in_either_shape():
    spec = FeatureSpec(FeatureType.VISUAL, (3, 2, 2))
    image = torch.rand(1, 3, 2, 2)
    flat = normalizer("MIN_MAX", spec).normalize(image)
    cubed = {name: torch.tensor(values)[:, None, None] for name, values in STATISTICS.items()}
    torch.testing.assert_close(normalizer("MIN_MAX", spec, **cubed).normalize(image), flat)
    torch.testing.assert_close(flat[0, 0], (image[0, 0] + 2) / 2 - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": torch.ones(2)}, r"'std' of shape \(3,\), got \(2,\)"),
        ({"mean": torch.full((3,), torch.inf)}, "'mean' is not finite"),
        ({"mean": torch.full((3,), torch.nan)}, "'mean' is not finite"),
    ],
)
def test_unusable_statistics_are_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        normalizer("MEAN_STD", **change)


def test_missing_statistics_are_refused_by_name():
    with pytest.raises(CheckpointError, match="statistics of 'key': QUANTILES needs 'q01', got max, min"):
        FeatureNormalizer(
            "key",
            FeatureSpec(FeatureType.STATE, (1,)),
            NormalizationMode.QUANTILES,
            {"min": torch.zeros(1), "max": torch.ones(1)},
            eps=1e-8,
        )


@pytest.mark.parametrize("mode", REFERENCE)
def test_identity_statistics_change_nothing_and_are_recorded(options, mode):
    mapping = {"STATE": mode, "ENV": mode, "ACTION": mode}
    normalization = Normalization.identity(ACTConfig.from_dict(options(normalization_mapping=mapping)))
    torch.testing.assert_close(normalization.normalize("observation.state", VALUE), VALUE)
    torch.testing.assert_close(normalization.unnormalize("action", VALUE[:2]), VALUE[:2])
    assert set(normalization.statistics()) == (
        set() if mode == "IDENTITY" else {*options()["input_features"], "action"}
    )


def test_statistics_are_no_part_of_the_state_dict_but_move_with_the_module(build):
    policy = build()
    assert all(name.startswith("model.") for name in policy.state_dict())
    assert len(list(policy.normalization.buffers())) == 4
    policy.to("meta")
    assert all(buffer.is_meta for buffer in policy.normalization.buffers())
