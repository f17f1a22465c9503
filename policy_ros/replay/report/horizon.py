# SPDX-License-Identifier: Apache-2.0
"""How the error of a chunk grows with the distance from its observation, with intervals, from sums alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.trace import ChunkTrace

CONFIDENCE = 0.95

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HorizonSums:
    """Sums over episodes for every row of a chunk and every joint, ``(H, A + 1)``; the last column is all joints.

    Attributes:
        joint_names: A names.
        episodes: with at least one comparable value.
        error: sum of e, the sum of absolute errors in an episode [rad, m].
        count: sum of n, the number of these errors.
        error_squared: sum of e².
        error_count: sum of e n.
        count_squared: sum of n².
    """

    joint_names: tuple[str, ...]
    episodes: Array
    error: Array
    count: Array
    error_squared: Array
    error_count: Array
    count_squared: Array

    @classmethod
    def of_episode(cls, joint_names: tuple[str, ...], chunks: Sequence[ChunkTrace]) -> HorizonSums | None:
        """Of one episode; None where it has no chunk."""
        if not chunks:
            return None
        errors = np.stack([np.abs(chunk.actions - chunk.recorded) for chunk in chunks])  # (C, H, A)
        compared = np.isfinite(errors)
        error = _with_total(np.where(compared, errors, 0.0).sum(axis=0))
        count = _with_total(compared.sum(axis=0).astype(np.float64))
        return cls(joint_names, (count > 0.0).astype(np.float64), error, count, error**2, error * count, count**2)

    def mean(self) -> Array:
        """Mean absolute error ``(H, A + 1)``; NaN where nothing was compared."""
        mean: Array = self.error / np.where(self.count > 0.0, self.count, np.nan)
        return mean

    def half_width(self) -> Array:
        """Half of the 95 % interval of the mean, ``(H, A + 1)``; NaN with fewer than two episodes.

        Episodes are the independent units. The variance of the ratio r = sum(e) / sum(n) is that of its linearization,
        E / (E - 1) sum (e - r n)² / sum(n)²: Cochran, Sampling Techniques (1977), section 6.3.
        """
        mean = self.mean()
        spread = self.error_squared - 2.0 * mean * self.error_count + mean**2 * self.count_squared
        factor = self.episodes / np.where(self.episodes > 1.0, self.episodes - 1.0, np.nan)
        z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)
        half: Array = z * np.sqrt(np.maximum(factor * spread, 0.0)) / self.count
        return half


def added(sums: Iterable[HorizonSums]) -> HorizonSums | None:
    """Sums over the episodes of all; None of none.

    Raises:
        ValueError: they are of different joints or horizons.
    """
    whole: HorizonSums | None = None
    for each in sums:
        whole = each if whole is None else _add(whole, each)
    return whole


def _add(one: HorizonSums, other: HorizonSums) -> HorizonSums:
    if one.joint_names != other.joint_names or one.error.shape != other.error.shape:
        raise ValueError(
            f"expected {len(one.error)} rows of {', '.join(one.joint_names)}, "
            f"got {len(other.error)} rows of {', '.join(other.joint_names)}"
        )
    return HorizonSums(
        one.joint_names,
        one.episodes + other.episodes,
        one.error + other.error,
        one.count + other.count,
        one.error_squared + other.error_squared,
        one.error_count + other.error_count,
        one.count_squared + other.count_squared,
    )


def _with_total(values: Array) -> Array:
    return np.concatenate([values, values.sum(axis=1, keepdims=True)], axis=1)
