# SPDX-License-Identifier: Apache-2.0
"""The order of samples: worked out without reading any, so that a training can go on anywhere in it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """A sample: the part it is in, and its number there."""

    part: int
    sample: int


class Step(NamedTuple):
    """What to read next, in this order, and which of all that was read so far to deliver then."""

    read: tuple[Place, ...]
    deliver: Place


def shard_parts(parts: int, *, shard: tuple[int, int], rng: random.Random | None) -> list[int]:
    """The parts of one shard; drawn anew with ``rng``, else every n-th.

    Args:
        parts: how many there are.
        shard: index of the shard, and number of shards.
        rng: equal for all shards of an epoch.
    """
    order = list(range(parts))
    if rng is not None:
        order.sort(key=lambda _: rng.random())
    index, count = shard
    return order[index::count]


def sequential(parts: Sequence[int], counts: Sequence[int]) -> Iterator[Step]:
    """One part after the other."""
    for part in parts:
        for sample in range(counts[part]):
            place = Place(part, sample)
            yield Step((place,), place)


def shuffled(
    parts: Sequence[int], counts: Sequence[int], rng: random.Random, *, interleave: int, buffer: int
) -> Iterator[Step]:
    """Each sample once, drawn from a buffer that is filled from several parts at a time.

    Within a part samples are read in their order, so that it is read once. A part is begun when another has been read
    to its end. Of the parts under way one is drawn for each sample by how many samples it has left, so that they end at
    about the same time and the last of an epoch are mixed as well as the first.

    Args:
        parts: in the order in which they are begun.
        counts: samples of every part.
        rng: what is drawn from, in this order for this seed forever: only ``random()`` is used.
        interleave: parts under way at a time.
        buffer: samples that are read but not delivered, at most.
    """
    reading = _interleaved(parts, counts, rng, interleave)
    held: list[Place] = []
    while True:
        read: list[Place] = []
        while len(held) < buffer:
            place = next(reading, None)
            if place is None:
                break
            read.append(place)
            held.append(place)
        if not held:
            return
        drawn = int(rng.random() * len(held))
        held[drawn], held[-1] = held[-1], held[drawn]
        yield Step(tuple(read), held.pop())


def _interleaved(parts: Sequence[int], counts: Sequence[int], rng: random.Random, interleave: int) -> Iterator[Place]:
    coming = iter([part for part in parts if counts[part]])
    active: list[list[int]] = []  # part, samples read
    while True:
        while len(active) < interleave:
            part = next(coming, None)
            if part is None:
                break
            active.append([part, 0])
        if not active:
            return
        chosen = _drawn([counts[part] - done for part, done in active], rng)
        part, done = active[chosen]
        yield Place(part, done)
        if done + 1 == counts[part]:
            del active[chosen]
        else:
            active[chosen][1] = done + 1


def _drawn(weights: Sequence[int], rng: random.Random) -> int:
    left = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1
