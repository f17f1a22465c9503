# SPDX-License-Identifier: Apache-2.0
"""Samples of real bags, as a training sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.demonstrations import PARAMETERS, demonstration, episode, write
from torch.utils.data import DataLoader

from policy_ros.training.dataset import DatasetError, DatasetOptions, DatasetPlan
from policy_ros.training.planning import plan_dataset
from policy_ros.training.stream import SampleStream

OPTIONS = DatasetOptions(chunk_size=5, validation_fraction=0.3, interleave=3, shuffle_buffer=20, seed=4)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> DatasetPlan:
    folder = tmp_path_factory.mktemp("bags")
    bags = [
        write(folder / f"bag{i}", demonstration(seed=i, seconds=1.0 + 0.2 * i, begin_s=100.0 * i, lossy=i % 2 == 1))
        for i in range(6)
    ]
    return plan_dataset(bags, PARAMETERS, OPTIONS)


def stream(plan: DatasetPlan, **arguments: Any) -> SampleStream:
    return SampleStream(plan.training, plan.parameters, plan.options, **{"shuffle": True, **arguments})


def identity(sample: dict[str, Any]) -> bytes:
    return b"".join(value.numpy().tobytes() for value in sample.values())


def identities(samples: Sequence[dict[str, Any]] | SampleStream) -> list[bytes]:
    return [identity(sample) for sample in samples]


def test_samples_have_the_planned_features(plan: DatasetPlan):
    for sample in stream(plan):
        assert set(sample) == {*plan.features, "action_is_pad"}
        for key, feature in plan.input_features.items():
            assert tuple(sample[key].shape) == feature.shape
        assert sample["observation.state"].dtype == torch.float32
        assert sample["observation.images.top"].dtype == torch.uint8
        assert (sample["action"].shape, sample["action"].dtype) == ((5, 3), torch.float32)
        assert (sample["action_is_pad"].shape, sample["action_is_pad"].dtype) == ((5,), torch.bool)


def test_an_epoch_has_every_sample_once_in_the_order_of_its_number(plan: DatasetPlan):
    in_order = identities(stream(plan, shuffle=False))
    first, second = identities(stream(plan, epoch=0)), identities(stream(plan, epoch=1))
    assert len(in_order) == len(stream(plan)) == sum(map(len, plan.training))
    assert len(set(in_order)) == len(in_order)
    assert sorted(first) == sorted(second) == sorted(in_order)
    assert first != second
    assert first == identities(stream(plan, epoch=0))


@pytest.mark.parametrize("shuffle", [True, False])
def test_skipping_goes_on_where_the_order_was_left(plan: DatasetPlan, shuffle: bool):
    whole = identities(stream(plan, shuffle=shuffle))
    for skip in (1, 19, len(whole) - 1, len(whole) + 5):
        rest = stream(plan, shuffle=shuffle, skip=skip)
        assert identities(rest) == whole[skip:]
        assert len(rest) == len(whole[skip:])


@pytest.mark.parametrize("count", [2, 3])
def test_shards_are_disjoint_and_complete(plan: DatasetPlan, count: int):
    shards = [identities(stream(plan, shard=(index, count))) for index in range(count)]
    assert [len(shard) for shard in shards] == [len(stream(plan, shard=(index, count))) for index in range(count)]
    assert sorted(chain.from_iterable(shards)) == sorted(identities(stream(plan)))


def test_processes_of_a_loader_take_a_shard_each(plan: DatasetPlan):
    loader = DataLoader(stream(plan), batch_size=None, num_workers=2)
    assert sorted(identities(list(loader))) == sorted(identities(stream(plan)))


def test_samples_share_no_memory_with_each_other(plan: DatasetPlan):
    samples = list(stream(plan, shuffle=False))
    before = identities(samples[1:])
    for value in samples[0].values():
        value.zero_()
    assert identities(samples[1:]) == before


def test_no_episode_is_on_both_sides(plan: DatasetPlan):
    training = {part.episode for part in plan.training}
    validation = {part.episode for part in plan.validation}
    assert len(training) == 4
    assert len(validation) == 2
    assert not training & validation


def test_a_bag_that_was_changed_after_planning_is_refused(tmp_path: Path):
    events = demonstration(seconds=1.5)
    bag = write(tmp_path / "bag", events)
    plan = plan_dataset([bag], PARAMETERS, OPTIONS)
    for file in bag.iterdir():
        file.unlink()
    bag.rmdir()
    write(bag, [event for event in events if event.log_ns < events[0].log_ns + 800_000_000])
    with pytest.raises(DatasetError, match=f"{bag}: expected the samples that were planned"):
        list(stream(plan))


def test_all_samples_have_a_task_where_one_episode_has(tmp_path: Path):
    events = demonstration(seconds=3.0)
    marks = [
        episode(0.0, 0, 0, task="put it there"),
        episode(1.4, 0, 1),
        episode(1.5, 1, 0),
        episode(2.9, 1, 1),
    ]
    plan = plan_dataset([write(tmp_path / "bag", events, marks)], PARAMETERS, replace(OPTIONS, validation_fraction=0.0))
    assert {sample["task"] for sample in stream(plan)} == {"put it there", ""}


def test_rows_of_a_sample_are_the_states_of_those_after_it(plan: DatasetPlan):
    """Rows belong to moments, not to samples: what two samples have in common is the same in both."""
    part = plan.training[0]
    samples = list(SampleStream([part], plan.parameters, plan.options, shuffle=False))
    pairs = 0
    for i in range(len(samples) - 1):
        if part.points[i + 1] == part.points[i] + 1 and not samples[i + 1]["action_is_pad"].any():
            np.testing.assert_array_equal(samples[i]["action"][1:], samples[i + 1]["action"][:-1])
            pairs += 1
    assert pairs > 5
