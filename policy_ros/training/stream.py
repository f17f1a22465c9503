# SPDX-License-Identifier: Apache-2.0
"""The samples of an epoch, read from bags as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset

from policy_ros.parameters.node import NodeParameters
from policy_ros.training.dataset import DatasetOptions, Part


class SampleStream(IterableDataset[dict[str, Any]]):
    """One shard of one epoch.

    A sample is a mapping of feature key to tensor: images uint8 ``(3, H, W)`` as recorded, vectors float32 ``(n,)``, both
    with a leading axis of T where ``n_obs_steps`` is more than 1; ``action`` float32 ``(H, A)`` in policy units,
    ``action_is_pad`` bool ``(H,)``, and ``task`` where one of the parts has one.

    Args:
        parts: ``plan.training`` or ``plan.validation``.
        parameters: the node's.
        options: as planned.
        shuffle: whether samples come in an order drawn from seed and epoch, or one after the other.
        epoch: number of the epoch.
        skip: samples of this shard's order to leave out at the beginning, to go on where a training stopped.
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
    ) -> None: ...

    def __len__(self) -> int:
        """Samples of the shard, without those that are skipped."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, Any]]:
        raise NotImplementedError
