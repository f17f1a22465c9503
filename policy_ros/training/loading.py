# SPDX-License-Identifier: Apache-2.0
"""Endless batches whose place in the data is known, so that a resumed training goes on with the next one.

Each reading process of each device has a shard of every epoch for itself. A batch comes from one process; processes
take turns. A batch carries the place after its last sample: what has been read ahead and not been trained on does not
count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from policy_ros.errors import TrainingError

Sample = Mapping[str, Any]  # feature key to tensor, as a policy's forward takes it, without the batch axis


class Shard(NamedTuple):
    """One of several disjoint parts of an epoch, counted from 0."""

    part: int = 0
    parts: int = 1


class Position(NamedTuple):
    """How far a shard has been trained on."""

    epoch: int = 0
    samples: int = 0  # of this epoch's shard


class Progress(NamedTuple):
    """How far one device has come: a position for each reading process, and whose turn it is."""

    positions: tuple[Position, ...]
    turn: int = 0

    @classmethod
    def start(cls, workers: int) -> Progress:
        """Nothing read yet; without processes the training reads as if it were one."""
        return cls((Position(),) * max(1, workers))

    def after(self, batch: Batch) -> Progress:
        """With one more batch trained on."""
        positions = list(self.positions)
        positions[batch.worker] = Position(*batch.position)
        return Progress(tuple(positions), (batch.worker + 1) % len(positions))


class Batch(NamedTuple):
    """A collated batch.

    Attributes:
        data: feature key to ``(B, …)``.
        size: B.
        worker: which of the reading processes made it.
        position: of that process, after this batch.
    """

    data: dict[str, Any]
    size: int
    worker: int
    position: Position


class OpenStream(Protocol):
    """The samples of one shard of one epoch, without the first ``skip``; the same ones every time."""

    def __call__(self, *, epoch: int, skip: int, shard: Shard) -> Iterable[Sample]: ...


class _Placed(NamedTuple):
    sample: Sample
    worker: int
    position: Position


class EndlessSamples(IterableDataset[_Placed]):
    """Epoch after epoch of this process's shard.

    Args:
        open_stream: of one epoch.
        progress: where to go on.
        rank: of this device.
        devices: how many there are.
    """

    def __init__(self, open_stream: OpenStream, progress: Progress, rank: int = 0, devices: int = 1) -> None:
        self._open_stream = open_stream
        self._progress = progress
        self._rank = rank
        self._devices = devices

    def __iter__(self) -> Iterator[_Placed]:
        workers = len(self._progress.positions)
        info = get_worker_info()
        # The loader asks its first process first, which therefore has to be the one whose turn it is.
        worker = ((0 if info is None else info.id) + self._progress.turn) % workers
        shard = Shard(self._rank * workers + worker, self._devices * workers)
        epoch, samples = self._progress.positions[worker]
        while True:
            for sample in self._open_stream(epoch=epoch, skip=samples, shard=shard):
                samples += 1
                yield _Placed(sample, worker, Position(epoch, samples))
            if samples == 0:
                raise TrainingError(
                    f"shard {shard.part + 1} of {shard.parts} has no sample to train on: "
                    "expected at least one for each reading process of each device; record more, or use fewer of them"
                )
            epoch, samples = epoch + 1, 0


def endless_loader(
    samples: EndlessSamples, batch_size: int, workers: int, *, pin_memory: bool = False
) -> DataLoader[_Placed]:
    """Batches of always the same size."""
    return DataLoader(samples, batch_size=batch_size, num_workers=workers, collate_fn=_collate, pin_memory=pin_memory)


def batches(samples: Iterable[Sample], batch_size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Collated batches and their sizes, read in this process; the last may be smaller."""
    pending: list[Sample] = []
    for sample in samples:
        pending.append(sample)
        if len(pending) == batch_size:
            yield default_collate(pending), len(pending)
            pending = []
    if pending:
        yield default_collate(pending), len(pending)


def _collate(placed: Sequence[_Placed]) -> Batch:
    last = placed[-1]
    return Batch(default_collate([each.sample for each in placed]), len(placed), last.worker, last.position)
