# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections import Counter
from itertools import groupby

import pytest

from policy_ros.training.shuffle import Place, sequential, shard_parts, shuffled

COUNTS = [30, 0, 5, 120, 1, 60, 44, 17]
PARTS = [5, 3, 1, 0, 7, 2, 6, 4]
ALL = [Place(part, sample) for part, count in enumerate(COUNTS) for sample in range(count)]


def steps(seed: object = 0, interleave: int = 3, buffer: int = 16):
    return list(shuffled(PARTS, COUNTS, random.Random(seed), interleave=interleave, buffer=buffer))


@pytest.mark.parametrize(("interleave", "buffer"), [(1, 1), (3, 16), (100, 1000)])
def test_every_sample_is_read_and_delivered_once(interleave: int, buffer: int):
    order = steps(interleave=interleave, buffer=buffer)
    assert sorted(step.deliver for step in order) == ALL
    assert sorted(place for step in order for place in step.read) == ALL


def test_within_a_part_samples_are_read_in_their_order():
    for part in range(len(COUNTS)):
        read = [place.sample for step in steps() for place in step.read if place.part == part]
        assert read == list(range(COUNTS[part]))


@pytest.mark.parametrize(("interleave", "buffer"), [(1, 1), (2, 7), (3, 16)])
def test_what_is_held_and_open_stays_within_its_bounds(interleave: int, buffer: int):
    held: set[Place] = set()
    done: Counter[int] = Counter()
    for step in steps(interleave=interleave, buffer=buffer):
        for place in step.read:
            held.add(place)
            done[place.part] += 1
            assert sum(0 < done[part] < COUNTS[part] for part in done) <= interleave
        assert len(held) <= buffer
        held.remove(step.deliver)


def test_the_order_is_that_of_the_seed():
    assert steps(seed="a") == steps(seed="a")
    assert steps(seed="a") != steps(seed="b")


def test_the_order_of_a_seed_is_the_same_on_every_machine_forever():
    order = shuffled([0, 1], [4, 3], random.Random("order"), interleave=2, buffer=3)
    assert [tuple(step.deliver) for step in order] == [(1, 1), (1, 0), (0, 0), (0, 1), (0, 2), (0, 3), (1, 2)]


def test_neighbours_in_the_order_are_from_several_parts():
    parts = [step.deliver.part for step in steps(interleave=4, buffer=64)]
    longest_run = max(len(list(run)) for _, run in groupby(parts[:100]))
    assert longest_run < 20


def test_sequential_is_one_part_after_the_other():
    order = list(sequential([2, 0], COUNTS))
    assert [step.deliver for step in order] == ALL[30:35] + ALL[:30]
    assert all(step.read == (step.deliver,) for step in order)


@pytest.mark.parametrize("seed", [None, 3])
def test_shards_share_the_parts_among_them(seed: int | None):
    def shard(index: int) -> list[int]:
        return shard_parts(10, shard=(index, 3), rng=None if seed is None else random.Random(seed))

    shards = [shard(index) for index in range(3)]
    assert sorted(part for parts in shards for part in parts) == list(range(10))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
