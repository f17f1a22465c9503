# SPDX-License-Identifier: Apache-2.0
"""The samples of an epoch, read from bags as they are needed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from policy_ros.data import ACTION
from policy_ros.observation import default_decoder
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.base import ACTION_IS_PAD
from policy_ros.training.dataset import DatasetOptions, Part
from policy_ros.training.reading import Bags, changed
from policy_ros.training.samples import Point
from policy_ros.training.shuffle import Place, Step, sequential, shard_parts, shuffled

Sample = dict[str, Any]


class SampleStream(IterableDataset[Sample]):
    """One shard of one epoch: the same samples in the same order every time.

    A sample is a mapping of feature key to tensor: images uint8 ``(3, H, W)`` as recorded, vectors float32 ``(n,)``,
    both with a leading axis of T where ``n_obs_steps`` is more than 1; ``action`` float32 ``(P + H, A)`` in policy
    units, ``action_is_pad`` bool ``(P + H,)``, and ``task``, a string, where one of the parts has one.

    Args:
        parts: ``plan.training`` or ``plan.validation``.
        parameters: the node's.
        options: as planned.
        shuffle: whether samples come in an order drawn from seed and epoch, or one part after the other.
        epoch: number of the epoch.
        skip: samples of this shard's order to leave out at the beginning, to go on where a training stopped; what is
            not needed any more is not decoded.
        shard: index and number of disjoint shards; None: one for each process of a DataLoader.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        parameters: NodeParameters,
        options: DatasetOptions,
        *,
        shuffle: bool,
        epoch: int = 0,
        skip: int = 0,
        shard: tuple[int, int] | None = None,
    ) -> None:
        self._parts = tuple(parts)
        self._parameters, self._options = parameters, options
        self._shuffle, self._epoch, self._skip, self._shard = shuffle, epoch, skip, shard

    def __len__(self) -> int:
        """Samples of the shard, without those that are skipped; of all shards where none is named."""
        shard = self._shard or (0, 1)
        return max(0, sum(len(self._parts[part]) for part in self._in_shard(shard)) - self._skip)

    def __iter__(self) -> Iterator[Sample]:
        tasks = any(part.episode.task for part in self._parts)
        bags = Bags(self._parameters, self._options, default_decoder(), tasks=tasks)
        steps = self._steps(self._shard or _of_this_process())
        return map(_sample, _delivered(steps, self._parts, bags, self._skip))

    def _in_shard(self, shard: tuple[int, int]) -> list[int]:
        rng = random.Random(f"parts/{self._options.seed}/{self._epoch}") if self._shuffle else None
        return shard_parts(len(self._parts), shard=shard, rng=rng)

    def _steps(self, shard: tuple[int, int]) -> Iterator[Step]:
        counts = [len(part) for part in self._parts]
        index, count = shard
        if not self._shuffle:
            return sequential(self._in_shard(shard), counts)
        return shuffled(
            self._in_shard(shard),
            counts,
            random.Random(f"samples/{self._options.seed}/{self._epoch}/{index}/{count}"),
            interleave=-(-self._options.interleave // count),
            buffer=-(-self._options.shuffle_buffer // count),
        )


def _of_this_process() -> tuple[int, int]:
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _delivered(steps: Iterator[Step], parts: Sequence[Part], bags: Bags, skip: int) -> Iterator[Point]:
    """What the steps deliver, without the first ones, of which nothing is read that is not needed later."""
    taken: set[Place] = set()  # not to be read again
    overdue: list[Place] = []  # read by a skipped step, for a later one
    for step in islice(steps, skip):
        overdue += step.read
        taken.add(step.deliver)
    readers = _Readers(parts, bags, taken)
    held = {place: readers.next(place) for place in overdue if place not in taken}
    for step in steps:
        for place in step.read:
            held[place] = readers.next(place)
        yield held.pop(step.deliver)


class _Readers:
    """Parts that are being read; each is opened when its first sample is asked for and closed after its last."""

    def __init__(self, parts: Sequence[Part], bags: Bags, left_out: Iterable[Place]) -> None:
        self._parts, self._bags = parts, bags
        self._left_out: dict[int, set[int]] = {}
        for part, sample in left_out:
            self._left_out.setdefault(part, set()).add(sample)
        self._open: dict[int, tuple[Iterator[Point], int]] = {}  # and the last point of interest

    def next(self, place: Place) -> Point:
        """The sample at this place. Within a part they have to be asked for in their order, all but those left out."""
        part = self._parts[place.part]
        if place.part not in self._open:
            self._open[place.part] = self._opened(place.part)
        points, last = self._open[place.part]
        expected = int(part.points[place.sample])
        point = next(points, None)
        if point is None or point.index != expected:
            found = "none" if point is None else str(point.index)
            raise changed(part.episode.bag_path, f"expected point {expected} of the grid, got {found}")
        if expected == last:
            del self._open[place.part]
        return point

    def _opened(self, index: int) -> tuple[Iterator[Point], int]:
        left_out = self._left_out.get(index, set())
        wanted = [int(point) for sample, point in enumerate(self._parts[index].points) if sample not in left_out]
        return self._bags.read(self._parts[index], frozenset(wanted)), wanted[-1]


def _sample(point: Point) -> Sample:
    """A point as tensors, which share no memory with it."""
    if point.observation is None:
        raise ValueError("expected a point with an observation")
    features = point.observation.features
    sample: Sample = {k: v if isinstance(v, str) else torch.tensor(v) for k, v in features.items()}
    sample[ACTION] = torch.tensor(point.actions)
    sample[ACTION_IS_PAD] = torch.tensor(point.is_pad)
    return sample
