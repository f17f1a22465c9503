# SPDX-License-Identifier: Apache-2.0
"""Endless batches: every sample once in an epoch, over processes and devices, from any place on."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice
from types import SimpleNamespace

import pytest
from support.synthetic_data import SyntheticData

from policy_ros.errors import TrainingError
from policy_ros.training.loading import EndlessSamples, Progress, Shard, batches, endless_loader

CONFIG = SimpleNamespace(chunk_size=2)


def loader(progress: Progress, *, workers: int = 0, rank: int = 0, devices: int = 1, size: int = 5, samples: int = 23):
    stream = partial(SyntheticData(0, training=samples).training, CONFIG)
    return endless_loader(EndlessSamples(stream, progress, rank, devices), size, workers)


def indices(batch) -> list[int]:
    return batch.data["index"].tolist()


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_it_goes_on_with_the_next_batch_from_any_place(workers: int):
    whole = list(islice(loader(Progress.start(workers), workers=workers), 14))
    progress = Progress.start(workers)
    for done, batch in enumerate(whole):
        if done in (1, 4, 6, 11):
            again = list(islice(loader(progress, workers=workers), 14 - done))
            assert [indices(each) for each in again] == [indices(each) for each in whole[done:]], f"from batch {done}"
        progress = progress.after(batch)


@pytest.mark.parametrize(("devices", "workers"), [(1, 0), (1, 3), (2, 0), (3, 2)])
def test_every_device_and_process_reads_samples_of_its_own(devices: int, workers: int):
    seen: Counter[int] = Counter()
    for rank in range(devices):
        progress = Progress.start(workers)
        of_first_epoch = EndlessSamples(
            partial(SyntheticData(0, training=24).training, CONFIG), progress, rank, devices
        )
        if workers == 0:
            seen.update(_first_epoch(of_first_epoch))
        else:
            seen.update(_first_epoch_of_loader(rank, devices, workers))
    assert seen == Counter(range(24))


def _first_epoch(stream) -> list[int]:
    found = []
    for placed in stream:
        if placed.position.epoch > 0:
            return found
        found.append(int(placed.sample["index"]))
    return found


def _first_epoch_of_loader(rank: int, devices: int, workers: int) -> list[int]:
    found, over = [], set()
    for batch in loader(Progress.start(workers), workers=workers, rank=rank, devices=devices, size=1, samples=24):
        if batch.position.epoch > 0:
            over.add(batch.worker)
        else:
            found += indices(batch)
        if len(over) == workers:
            break
    return found


def test_epochs_differ_in_their_order():
    order = [indices(batch) for batch in islice(loader(Progress.start(0), size=23), 2)]
    assert sorted(order[0]) == sorted(order[1]) == list(range(23))
    assert order[0] != order[1]


def test_a_batch_goes_over_the_end_of_an_epoch():
    batch = list(islice(loader(Progress.start(0)), 5))[-1]
    assert batch.size == 5
    assert batch.position == (1, 2)


def test_what_was_read_ahead_does_not_count():
    progress = Progress.start(2)
    batch = next(iter(loader(progress, workers=2)))
    assert progress.after(batch) == (((0, 5), (0, 0)), 1)


def test_a_process_without_samples_is_an_error_and_no_endless_wait():
    with pytest.raises(TrainingError, match=r"shard 3 of 3 has no sample.*use fewer of them"):
        next(iter(loader(Progress.start(0), rank=2, devices=3, samples=2)))


def test_batches_of_a_stream_end_with_a_smaller_one():
    samples = SyntheticData(0).validation(CONFIG, samples=7, shard=Shard())
    assert [size for _, size in batches(samples, 3)] == [3, 3, 1]
