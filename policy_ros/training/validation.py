# SPDX-License-Identifier: Apache-2.0
"""The loss on samples that are never trained on: always the same ones, under always the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torchmetrics import MeanMetric

from policy_ros.policies.base import Policy
from policy_ros.training.collective import gather
from policy_ros.training.loading import Sample, Shard, batches
from policy_ros.training.seeding import Stage, seed_generators


class Validation:
    """Compares a policy between steps, and with other policies on the same data.

    Args:
        open_samples: the samples of a shard, always the same ones in the same order.
        batch_size: of a pass.
        seed: of noise and flow times.
        shard: of this device.
    """

    def __init__(
        self,
        open_samples: Callable[[Shard], Iterable[Sample]],
        *,
        batch_size: int,
        seed: int,
        shard: Shard,
    ) -> None:
        self._open_samples = open_samples
        self._batch_size = batch_size
        self._seed = seed
        self._shard = shard

    def run(self, policy: Policy, precision: Callable[[], AbstractContextManager[None]]) -> dict[str, float]:
        """Loss and its parts, averaged over all samples of all devices; empty if there are none.

        Leaves the generators seeded: whatever is random afterwards has to seed them anew.

        Args:
            policy: on its device.
            precision: context of a pass.
        """
        means: dict[str, MeanMetric] = {}
        samples = self._open_samples(self._shard)
        with evaluating(policy), torch.no_grad():
            for index, (data, size) in enumerate(batches(samples, self._batch_size)):
                seed_generators(self._seed, Stage.VALIDATION, index, self._shard.part)
                with precision():
                    loss, parts = policy(data)
                for name, value in {"loss": float(loss), **parts}.items():
                    means.setdefault(name, MeanMetric().to(policy.device)).update(value, weight=size)
        # A device without a sample takes part in the averaging all the same.
        names = sorted({name for each in gather(list(means)) for name in each}, key=lambda name: (name != "loss", name))
        return {name: float(means.get(name, MeanMetric().to(policy.device)).compute()) for name in names}


@contextmanager
def evaluating(policy: Policy) -> Iterator[None]:
    """Evaluation mode inside, the mode before afterwards."""
    training = policy.training
    policy.eval()
    try:
        yield
    finally:
        policy.train(training)
