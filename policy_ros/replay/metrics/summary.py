# SPDX-License-Identifier: Apache-2.0
"""Many episodes in one table of values, each with the interval it may well be in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from policy_ros.replay.metrics.alignment import max_lag_steps
from policy_ros.replay.metrics.bootstrap import CONFIDENCE, RESAMPLES, FloatArray, percentile_interval, resamples
from policy_ros.replay.metrics.definitions import DEFINITIONS
from policy_ros.replay.metrics.episode import EpisodeMetrics
from policy_ros.replay.metrics.estimators import BestLag, Estimator
from policy_ros.replay.metrics.order import SuspectedOrder
from policy_ros.replay.metrics.pool import Pool
from policy_ros.replay.metrics.rounding import rounded, rounded_or_none


@dataclass(frozen=True)
class Value:
    """One metric.

    Attributes:
        value: None where it does not exist, e.g. an error where nothing was recorded to compare with.
        low: lower bound of the 95 % interval; None for fewer than two episodes, and where a bootstrap says nothing.
        high: upper bound.
        unit: of all three.
        count: how many things it is of; docs/replay-metrics.md says of which.
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str
    count: int


@dataclass(frozen=True)
class ErrorByRow:
    """Errors over the rows of a chunk, of all joints; None where nothing could be compared.

    Attributes:
        mae: H values.
        rmse: H values.
        count: H values.
    """

    mae: tuple[float | None, ...]
    rmse: tuple[float | None, ...]
    count: tuple[int, ...]


@dataclass(frozen=True)
class ErrorByLag:
    """Mean absolute error of the newest predictions, where the recording is taken so much earlier.

    Attributes:
        lag_s: -1.5 to 1.5 [s].
        mae: None where too little overlaps.
    """

    lag_s: tuple[float, ...]
    mae: tuple[float | None, ...]


@dataclass(frozen=True)
class Summary:
    """All episodes of a replay.

    Attributes:
        episodes: how many.
        joint_names: A names.
        dt_s: control period [s].
        horizon: H.
        seed: of the bootstrap.
        metrics: by name, in the order of the registry.
        error_by_row: over the rows of a chunk.
        error_by_lag: over shifts of the recording.
        delays: delay [steps] to how many chunks had it.
        modes: what acted, to how many chunks.
        degradations: why it was not the mode that was chosen, to how many chunks.
        not_ready: why no observation could be had, to how often.
        suspected_joint_order: joints that seem to be exchanged in the policy.
        suspected_camera_order: cameras that seem to be exchanged, by their features.
    """

    episodes: int
    joint_names: tuple[str, ...]
    dt_s: float
    horizon: int
    seed: int
    metrics: Mapping[str, Value]
    error_by_row: ErrorByRow
    error_by_lag: ErrorByLag
    delays: Mapping[int, int]
    modes: Mapping[str, int]
    degradations: Mapping[str, int]
    not_ready: Mapping[str, int]
    suspected_joint_order: tuple[SuspectedOrder, ...]
    suspected_camera_order: tuple[SuspectedOrder, ...] = ()

    def values(self) -> Mapping[str, Value]:
        """Every metric by its dotted name."""
        return self.metrics

    def as_json(self) -> dict[str, Any]:
        """For ``json.dumps``: finite numbers, six significant digits, the same for the same episodes and seed."""
        bootstrap = {"resamples": RESAMPLES, "confidence": CONFIDENCE, "seed": self.seed}
        parts = asdict(self)
        del parts["seed"]
        return {**parts, "bootstrap": bootstrap, "delays": {str(d): count for d, count in self.delays.items()}}


def summarize(episodes: Sequence[EpisodeMetrics], *, seed: int = 0) -> Summary:
    """Pool episodes: sums are added up before they are divided, so that long episodes weigh more.

    Args:
        episodes: of the same joints and control period, in any order; the result does not depend on it.
        seed: of the bootstrap.

    Raises:
        ConfigurationError: joints or control periods differ.
    """
    pool = Pool(sorted(episodes, key=lambda each: each.key))
    count = len(pool.episodes)
    weights = resamples(count, seed) if count > 1 else None
    return Summary(
        episodes=count,
        joint_names=pool.joint_names,
        dt_s=pool.dt_s,
        horizon=pool.horizon,
        seed=seed,
        metrics={
            name: _value(definition.make(pool, key), definition.unit, count, weights)
            for definition in DEFINITIONS
            for name, key in definition.expand(pool.joint_names)
        },
        error_by_row=_error_by_row(pool),
        error_by_lag=_error_by_lag(pool),
        delays=_delays(pool.episodes),
        modes=_add(each.chunks.modes for each in pool.episodes),
        degradations=_add(each.chunks.degradations for each in pool.episodes),
        not_ready=_add(each.chunks.not_ready for each in pool.episodes),
        suspected_joint_order=tuple(pool.suspected_order()),
        suspected_camera_order=tuple(pool.suspected_camera_order()),
    )


def _value(estimator: Estimator, unit: str, episodes: int, weights: FloatArray | None) -> Value:
    point = float(estimator.estimate(np.ones((1, episodes)))[0])
    interval = None
    if weights is not None and estimator.has_interval and math.isfinite(point):
        interval = percentile_interval(estimator.estimate(weights))
    low, high = interval or (None, None)
    return Value(rounded_or_none(point), low, high, unit, estimator.count)


def _error_by_row(pool: Pool) -> ErrorByRow:
    absolute, squared, count = (
        pool.table(get, pool.horizon).sum(axis=0)
        for get in (
            lambda each: each.prediction.by_row.absolute,
            lambda each: each.prediction.by_row.squared,
            lambda each: each.prediction.by_row.count,
        )
    )
    with np.errstate(invalid="ignore"):
        mae, rmse = absolute / count, np.sqrt(squared / count)
    return ErrorByRow(tuple(map(rounded_or_none, mae)), tuple(map(rounded_or_none, rmse)), tuple(map(int, count)))


def _error_by_lag(pool: Pool) -> ErrorByLag:
    if not pool.episodes:
        return ErrorByLag((), ())
    most = max_lag_steps(pool.dt_s)
    errors = BestLag(*pool.lag_sums(), pool.dt_s).errors(np.ones((1, len(pool.episodes))))[0]
    lags = tuple(rounded(lag * pool.dt_s) for lag in range(-most, most + 1))
    return ErrorByLag(lags, tuple(map(rounded_or_none, errors)))


def _delays(episodes: Sequence[EpisodeMetrics]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for each in episodes:
        for steps, count in zip(each.chunks.delay.values, each.chunks.delay.counts, strict=True):
            found[int(steps)] += count
    return dict(sorted(found.items()))


def _add(tallies: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tally in tallies:
        found.update(tally)
    return dict(sorted(found.items()))
