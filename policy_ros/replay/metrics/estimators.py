# SPDX-License-Identifier: Apache-2.0
"""Metrics as functions of what E episodes have, each weighted by how often a bootstrap drew it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.metrics.distribution import Distribution

FloatArray = NDArray[np.float64]

_BLOCK = 4_000_000  # numbers at once


class Estimator(Protocol):
    """One metric."""

    @property
    def count(self) -> int:
        """How many things it is of, in all episodes."""

    @property
    def has_interval(self) -> bool:
        """Whether a bootstrap says anything about it."""

    def estimate(self, weights: FloatArray) -> FloatArray:
        """``(R,)`` of each row of ``weights`` ``(R, E)``; NaN where it is not defined."""


@dataclass(frozen=True, eq=False)
class Total:
    """Sum over episodes of ``(E,)``."""

    values: FloatArray
    has_interval: bool = True

    @property
    def count(self) -> int:
        return len(self.values)

    def estimate(self, weights: FloatArray) -> FloatArray:
        return weights @ self.values if len(self.values) else np.full(len(weights), np.nan)


@dataclass(frozen=True, eq=False)
class Ratio:
    """Sum of numerators over sum of denominators, both ``(E,)``, times ``factor``; or the root of it.

    What it is of are the denominators, where they count, or the episodes.
    """

    numerators: FloatArray
    denominators: FloatArray
    root: bool = False
    factor: float = 1.0
    of_episodes: bool = False
    has_interval: bool = True

    @property
    def count(self) -> int:
        return len(self.denominators) if self.of_episodes else int(self.denominators.sum())

    def estimate(self, weights: FloatArray) -> FloatArray:
        ratio = self.factor * _divide(weights @ self.numerators, weights @ self.denominators)
        return np.sqrt(ratio) if self.root else ratio


@dataclass(frozen=True, eq=False)
class MeanOfEpisodes:
    """Plain mean over the episodes that have a value; ``(E,)``, NaN for the others."""

    values: FloatArray
    has_interval: bool = True

    @property
    def count(self) -> int:
        return int(np.isfinite(self.values).sum())

    def estimate(self, weights: FloatArray) -> FloatArray:
        known = np.isfinite(self.values)
        return _divide(weights @ np.where(known, self.values, 0.0), weights @ known.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Largest:
    """Largest of ``(E,)``, NaN for episodes without a value.

    Without an interval: no draw can exceed what was seen, so a bootstrap of an extreme is not consistent (Bickel,
    Freedman, Some Asymptotic Theory for the Bootstrap (1981), doi:10.1214/aos/1176345637, section 6).
    """

    values: FloatArray
    has_interval: bool = False

    @property
    def count(self) -> int:
        return int(np.isfinite(self.values).sum())

    def estimate(self, weights: FloatArray) -> FloatArray:
        drawn = np.where((weights > 0.0) & np.isfinite(self.values), self.values, -np.inf)
        largest = drawn.max(axis=1, initial=-np.inf)
        return np.where(np.isfinite(largest), largest, np.nan)


class Quantile:
    """Smallest value that at least ``share`` of all values do not exceed.

    Args:
        distributions: of E episodes.
        share: 0.5 for the median.
    """

    has_interval = True

    def __init__(self, distributions: Sequence[Distribution], share: float) -> None:
        values = np.concatenate([np.empty(0), *(np.asarray(each.values) for each in distributions)])
        counts = np.concatenate([np.empty(0), *(np.asarray(each.counts) for each in distributions)])
        episodes = np.repeat(np.arange(len(distributions)), [len(each.values) for each in distributions])
        order = np.argsort(values, kind="stable")
        self._values, self._counts, self._episodes = values[order], counts[order], episodes[order]
        self._share = share

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def estimate(self, weights: FloatArray) -> FloatArray:
        if not len(self._values):
            return np.full(len(weights), np.nan)
        block = max(1, _BLOCK // len(self._values))
        return np.concatenate([self._block(weights[i : i + block]) for i in range(0, len(weights), block)])

    def _block(self, weights: FloatArray) -> FloatArray:
        ranks = np.cumsum(weights[:, self._episodes] * self._counts, axis=1)
        total = ranks[:, -1:]
        found = self._values[np.argmax(ranks >= self._share * total * (1.0 - 1e-12), axis=1)]
        return np.where(total[:, 0] > 0.0, found, np.nan)


class BestLag:
    """Shift of the recording with the smallest mean error, and what is gained by it.

    Args:
        sums: ``(E, 2 L + 1)`` absolute errors at shifts -L to L.
        counts: ``(E, 2 L + 1)`` of values.
        dt_s: control period [s].
        gain: estimate the gain, ``1 - error(best) / error(0)``, in place of the shift [s].
    """

    has_interval = True

    def __init__(self, sums: FloatArray, counts: FloatArray, dt_s: float, *, gain: bool = False) -> None:
        self._sums, self._counts, self._dt_s, self._gain = sums, counts, dt_s, gain
        self._middle = sums.shape[1] // 2
        # Of several that are equally good, the smallest shift.
        self._order = np.argsort(np.abs(np.arange(sums.shape[1]) - self._middle), kind="stable")

    @property
    def count(self) -> int:
        return int(self._counts[:, self._middle].sum())

    def errors(self, weights: FloatArray) -> FloatArray:
        """``(R, 2 L + 1)`` mean absolute errors; NaN where fewer than half the values overlap."""
        counts = weights @ self._counts
        enough = counts >= 0.5 * counts[:, [self._middle]]
        return np.where(enough, _divide(weights @ self._sums, counts), np.nan)

    def estimate(self, weights: FloatArray) -> FloatArray:
        errors = self.errors(weights)
        defined = np.isfinite(errors[:, self._middle])
        ordered = np.where(np.isfinite(errors), errors, np.inf)[:, self._order]
        best = np.argmin(ordered, axis=1)
        if self._gain:
            least, unshifted = ordered[np.arange(len(best)), best], errors[:, self._middle]
            result = np.where(unshifted == 0.0, 0.0, 1.0 - _divide(least, unshifted))
        else:
            result = (self._order[best] - self._middle) * self._dt_s
        return np.where(defined, result, np.nan)


@dataclass(frozen=True)
class Constant:
    """What is not a function of sums; NaN where it is not defined."""

    value: float
    count: int
    has_interval: bool = False

    def estimate(self, weights: FloatArray) -> FloatArray:
        return np.full(len(weights), self.value)


def _divide(numerators: FloatArray, denominators: FloatArray) -> FloatArray:
    """NaN where there is nothing to divide by."""
    result = np.full(numerators.shape, np.nan)
    np.divide(numerators, denominators, out=result, where=denominators > 0.0)
    return result
