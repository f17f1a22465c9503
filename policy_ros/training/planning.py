# SPDX-License-Identifier: Apache-2.0
"""One look at every bag: whether they go together, and which moments are samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from policy_ros.parameters.node import NodeParameters
from policy_ros.training.dataset import DatasetOptions, DatasetPlan

Progress = Callable[[float], None]  # told the share that is done, 0 to 1


def plan_dataset(
    bags: Sequence[Path], parameters: NodeParameters, options: DatasetOptions, *, progress: Progress | None = None
) -> DatasetPlan:
    """Look through the bags once, refuse those that disagree, and split their episodes.

    Raises:
        DatasetError, BagError: a bag cannot be used; the message names it and the topic.
    """
    raise NotImplementedError
