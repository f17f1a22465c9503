# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policy_ros.bags import Episode
from policy_ros.training.split import validation_episodes


def episodes(count: int) -> list[Episode]:
    return [Episode(Path(f"/data/bag{i // 5}"), i % 5, 1_000 * i, 1_000 * i + 900) for i in range(count)]


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(1, 0.5, 0), (2, 0.01, 1), (2, 0.9, 1), (10, 0.3, 3), (10, 0.0, 0), (50, 0.1, 5)],
)
def test_a_share_validates_at_least_one_and_never_all(count: int, fraction: float, expected: int):
    assert len(validation_episodes(episodes(count), fraction, seed=0)) == expected


def test_another_seed_draws_other_episodes():
    drawn = {validation_episodes(episodes(40), 0.2, seed=seed) for seed in range(5)}
    assert len(drawn) == 5


def test_neither_the_order_of_the_bags_nor_their_directory_matters():
    listed = episodes(20)
    moved = [replace(episode, bag_path=Path("/elsewhere") / episode.bag_path.name) for episode in reversed(listed)]
    drawn = {listed[i].start_ns for i in validation_episodes(listed, 0.2, seed=1)}
    assert drawn == {moved[i].start_ns for i in validation_episodes(moved, 0.2, seed=1)}


def test_further_bags_take_no_episode_from_training_that_is_not_replaced():
    few, many = episodes(40), episodes(60)
    before, after = validation_episodes(few, 0.2, seed=2), validation_episodes(many, 0.2, seed=2)
    assert len(before & after) >= 5
