# SPDX-License-Identifier: Apache-2.0
"""One pass against all samples in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.demonstrations import PARAMETERS, demonstration, write

from policy_ros.data import ACTION, OBSERVATION_STATE
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import JointParameters
from policy_ros.policies.inputs import image_to_float
from policy_ros.policies.relative import RelativeActions
from policy_ros.training.dataset import DatasetOptions, DatasetPlan
from policy_ros.training.planning import plan_dataset
from policy_ros.training.statistics import QUANTILES, ImageStatistics, VectorStatistics, compute_statistics
from policy_ros.training.stream import SampleStream

TOP = "observation.images.top"
NAMES = {"mean", "std", "min", "max", "count", *QUANTILES}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> DatasetPlan:
    folder = tmp_path_factory.mktemp("bags")
    bags = [write(folder / f"bag{i}", demonstration(seed=i, seconds=1.5, begin_s=100.0 * i)) for i in range(3)]
    return plan_dataset(bags, PARAMETERS, DatasetOptions(chunk_size=7, n_obs_steps=2, image_size=(4, 5)))


@pytest.fixture(scope="module")
def samples(plan: DatasetPlan) -> list[dict[str, torch.Tensor]]:
    return list(SampleStream(plan.training, PARAMETERS, plan.options, shuffle=False))


def close(got: dict[str, torch.Tensor], rows: np.ndarray) -> None:
    for name, value in (
        ("mean", rows.mean(axis=0)),
        ("std", rows.std(axis=0)),
        ("min", rows.min(axis=0)),
        ("max", rows.max(axis=0)),
        *((name, np.quantile(rows, share, axis=0)) for name, share in QUANTILES.items()),
    ):
        assert got[name].dtype == torch.float32
        np.testing.assert_allclose(got[name].numpy(), value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_every_feature_has_every_statistic_in_its_shape(plan: DatasetPlan):
    statistics = compute_statistics(plan)
    assert set(statistics) == set(plan.features)
    for key, values in statistics.items():
        assert set(values) == NAMES
        shape = (3, 1, 1) if key.startswith("observation.images") else plan.features[key].shape
        assert {tuple(value.shape) for name, value in values.items() if name != "count"} == {shape}
        assert values["count"].shape == (1,)


def test_states_are_those_of_the_newest_observations(plan: DatasetPlan, samples: list[dict[str, torch.Tensor]]):
    rows = torch.stack([sample[OBSERVATION_STATE][-1] for sample in samples]).numpy().astype(np.float64)
    statistics = compute_statistics(plan)[OBSERVATION_STATE]
    close(statistics, rows)
    assert statistics["count"].item() == len(samples)


def test_actions_are_all_rows_but_padding(plan: DatasetPlan, samples: list[dict[str, torch.Tensor]]):
    rows = torch.cat([sample[ACTION][~sample["action_is_pad"]] for sample in samples]).numpy().astype(np.float64)
    statistics = compute_statistics(plan)[ACTION]
    close(statistics, rows)
    assert statistics["count"].item() == len(rows) < 7 * len(samples)


def test_relative_actions_are_offsets_as_the_network_sees_them(
    plan: DatasetPlan, samples: list[dict[str, torch.Tensor]]
):
    relative = RelativeActions((True, True, False))
    rows = [
        relative.to_relative(sample[ACTION], sample[OBSERVATION_STATE][-1])[~sample["action_is_pad"]]
        for sample in samples
    ]
    statistics = compute_statistics(plan, relative=relative)[ACTION]
    close(statistics, torch.cat(rows).numpy().astype(np.float64))
    absolute = compute_statistics(plan)[ACTION]
    assert statistics["mean"][2] == absolute["mean"][2]
    assert statistics["mean"][1] != absolute["mean"][1]


def test_pictures_are_resized_as_the_policy_does_it(plan: DatasetPlan, samples: list[dict[str, torch.Tensor]]):
    seen = torch.stack([image_to_float(sample[TOP][-1], (4, 5)) for sample in samples]).unique(dim=0)
    channels = seen.permute(1, 0, 2, 3).reshape(3, -1).numpy().astype(np.float64)
    statistics = compute_statistics(plan)[TOP]
    # Each sample's picture counts, also where two samples share one.
    assert statistics["count"].item() == len(samples)
    np.testing.assert_allclose(statistics["mean"].flatten(), channels.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(statistics["std"].flatten(), channels.std(axis=1), atol=0.02)
    np.testing.assert_array_equal(statistics["min"].flatten(), channels.min(axis=1).astype(np.float32))
    np.testing.assert_array_equal(statistics["max"].flatten(), channels.max(axis=1).astype(np.float32))


def test_the_same_plan_gives_the_same_numbers(plan: DatasetPlan):
    first, second = compute_statistics(plan), compute_statistics(plan)
    for key, values in first.items():
        for name, value in values.items():
            assert torch.equal(value, second[key][name]), (key, name)


def test_few_pictures_are_enough_and_every_camera_has_some(plan: DatasetPlan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("policy_ros.training.statistics._PICTURES", 0)
    statistics = compute_statistics(plan)
    for key in (TOP, "observation.images.wrist"):
        assert 1 <= statistics[key]["count"].item() <= 10


def test_progress_ends_at_one(plan: DatasetPlan):
    shares: list[float] = []
    compute_statistics(plan, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("state", [("elbow",), ("elbow", "shoulder", "gripper")])
def test_offsets_need_a_state_of_their_columns(tmp_path: Path, state: tuple[str, ...]):
    parameters = replace(PARAMETERS, joints=JointParameters(names=PARAMETERS.joints.names, state_names=state))
    plan = plan_dataset([write(tmp_path / "bag", demonstration(seconds=1.0))], parameters, DatasetOptions(chunk_size=2))
    with pytest.raises(ConfigurationError, match=f"begin with joints.names .*got {', '.join(state)}"):
        compute_statistics(plan, relative=RelativeActions((True, True, True)))


# The accumulators by themselves


def test_a_small_spread_on_a_large_offset_keeps_its_digits():
    rows = 1e8 + np.random.default_rng(0).normal(scale=1e-3, size=(5000, 1))
    statistics = VectorStatistics(1)
    for piece in np.array_split(rows, 77):
        statistics.add(piece)
    assert statistics.result()["std"].item() == pytest.approx(rows.std(), rel=1e-6)


def test_quantiles_of_more_rows_than_are_kept_are_close():
    rows = np.random.default_rng(1).uniform(size=(200_000, 2))
    statistics = VectorStatistics(2)
    for piece in np.array_split(rows, 1000):
        statistics.add(piece)
    result = statistics.result()
    for name, share in QUANTILES.items():
        np.testing.assert_allclose(result[name], share, atol=5.0 * np.sqrt(share * (1.0 - share) / 20_000))


def test_a_trend_does_not_favour_early_or_late_rows():
    rows = np.linspace(0.0, 1.0, 300_000)[:, None]
    statistics = VectorStatistics(1)
    for piece in np.array_split(rows, 500):
        statistics.add(piece)
    assert statistics.result()["q50"].item() == pytest.approx(0.5, abs=0.02)


def test_quantiles_of_pictures_are_exact():
    pictures = np.random.default_rng(2).integers(0, 256, (20, 3, 4, 6), np.uint8)
    statistics = ImageStatistics((4, 6))
    for picture in pictures:
        statistics.add(picture)
    channels = pictures.transpose(1, 0, 2, 3).reshape(3, -1)
    result = statistics.result()
    for name, share in QUANTILES.items():
        expected = np.quantile(channels, share, axis=1, method="inverted_cdf") / 255
        np.testing.assert_allclose(result[name].flatten(), expected, atol=1e-6)
    np.testing.assert_allclose(result["std"].flatten(), (channels / 255).std(axis=1), rtol=1e-5)
