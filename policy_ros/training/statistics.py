# SPDX-License-Identifier: Apache-2.0
"""Statistics of a data set, in one pass."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from policy_ros.policies.relative import RelativeActions
from policy_ros.training.dataset import DatasetPlan
from policy_ros.training.planning import Progress


def compute_statistics(
    plan: DatasetPlan, *, relative: RelativeActions | None = None, progress: Progress | None = None
) -> Mapping[str, Mapping[str, Tensor]]:
    """Feature key to ``mean``, ``std``, ``min``, ``max``, ``count``, ``q01``, ``q10``, ``q50``, ``q90``, ``q99``.

    Of the training episodes, as the network sees them: images ``(3, 1, 1)`` from 0 to 1, vectors ``(n,)``. Actions are
    all rows that are no padding; with ``relative`` their offsets from the state of their observation.
    """
    raise NotImplementedError
