# SPDX-License-Identifier: Apache-2.0
"""Estimators of the usual kinds, from where an episode has its numbers.

A maker is given the episodes and the joint, cause or reason in the metric's name, which is empty where there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.metrics.episode import EpisodeMetrics
from policy_ros.replay.metrics.estimators import (
    BestLag,
    Constant,
    Estimator,
    Largest,
    MeanOfEpisodes,
    Quantile,
    Ratio,
    Total,
)
from policy_ros.replay.metrics.pool import Pool
from policy_ros.replay.metrics.sums import ErrorSums

Maker = Callable[[Pool, str], Estimator]
KeyedNumber = Callable[[EpisodeMetrics, str], float]


def mean_error(get: Callable[[EpisodeMetrics], ErrorSums]) -> Maker:
    """Mean absolute error, of a joint or of all."""

    def make(pool: Pool, joint: str) -> Estimator:
        absolute, _, count = pool.errors(get, joint)
        return Ratio(absolute, count)

    return make


def root_mean_square_error(get: Callable[[EpisodeMetrics], ErrorSums]) -> Maker:
    """Root of the mean squared error, of a joint or of all."""

    def make(pool: Pool, joint: str) -> Estimator:
        _, squared, count = pool.errors(get, joint)
        return Ratio(squared, count, root=True)

    return make


def total(get: KeyedNumber) -> Maker:
    """Sum over all episodes."""
    return lambda pool, key: Total(pool.column(lambda each: get(each, key)))


def ratio(numerator: KeyedNumber, denominator: KeyedNumber) -> Maker:
    """Sum over sum."""

    def make(pool: Pool, key: str) -> Estimator:
        return Ratio(pool.column(lambda each: numerator(each, key)), pool.column(lambda each: denominator(each, key)))

    return make


def of_time(get: KeyedNumber, factor: float = 1.0) -> Maker:
    """Sum over the sum of the episodes' lengths [s], times ``factor``."""

    def make(pool: Pool, key: str) -> Estimator:
        spans = pool.column(lambda each: each.run.span_s)
        return Ratio(pool.column(lambda each: get(each, key)), spans, factor=factor, of_episodes=True)

    return make


def mean(get: Callable[[EpisodeMetrics], Distribution]) -> Maker:
    """Mean of all values."""
    return ratio(
        lambda each, _: float(np.dot(get(each).values, get(each).counts)), lambda each, _: float(sum(get(each).counts))
    )


def quantile(get: Callable[[EpisodeMetrics], Distribution], share: float) -> Maker:
    """Of all values."""
    return lambda pool, _: Quantile([get(each) for each in pool.episodes], share)


def largest(get: Callable[[EpisodeMetrics], Distribution]) -> Maker:
    """Of all values."""
    return lambda pool, _: Largest(pool.column(lambda each: get(each).largest))


def peak(get: Callable[[EpisodeMetrics], tuple[float | None, ...] | None]) -> Maker:
    """Largest of a joint, or of all, in any episode."""
    return lambda pool, joint: Largest(_peaks(pool, get, joint))


def mean_peak(get: Callable[[EpisodeMetrics], tuple[float | None, ...] | None]) -> Maker:
    """Mean over episodes of the largest of all joints."""
    return lambda pool, joint: MeanOfEpisodes(_peaks(pool, get, joint))


def best_lag(*, gain: bool) -> Maker:
    """The shift [s] that fits best, or what is gained by it."""
    return lambda pool, _: BestLag(*pool.lag_sums(), pool.dt_s, gain=gain)


def joint_order_gain(pool: Pool, _: str) -> Estimator:
    """Largest gain of a suspected order; 0 where none is."""
    compared = sum(sum(each.alignment.cross_count) for each in pool.episodes)
    gains = [order.gain for order in pool.suspected_order()]
    return Constant(max(gains, default=0.0) if compared else np.nan, compared)


def camera_order_gain(pool: Pool, key: str) -> Estimator:
    """Largest gain of a suspected order of the cameras; 0 where none is."""
    _, _, pictures = pool.picture_shifts()
    gains = [order.gain for order in pool.suspected_camera_order()]
    return Constant(max(gains, default=0.0) if pictures else np.nan, pictures)


def picture_shift(pool: Pool, key: str) -> Estimator:
    """Of the camera whose pictures are furthest from those that it was trained on."""
    _, distances, pictures = pool.picture_shifts()
    return Constant(float(distances.diagonal().max()) if pictures else np.nan, pictures)


def _peaks(
    pool: Pool, get: Callable[[EpisodeMetrics], tuple[float | None, ...] | None], joint: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    def of_episode(each: EpisodeMetrics) -> float | None:
        values = get(each)
        if values is None:
            return None
        wanted = values if not joint else (values[pool.joint(joint)],)
        return max((value for value in wanted if value is not None), default=None)

    return pool.column(of_episode)
