# SPDX-License-Identifier: Apache-2.0
"""Statistics as ``meta/stats.json`` has them: of each episode, and of all episodes merged.

The definitions are those of LeRobot's ``compute_stats``: the merged mean and deviation are those of all frames, a
merged quantile is the mean of the episodes' quantiles, weighted by their frames. Images count in [0, 1], one value for
each channel. Here every frame and pixel counts, where LeRobot takes a sample of long episodes and of large images, and
quantiles are exact, where LeRobot's come from histograms of 5000 bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = Mapping[str, NDArray[Any]]
"""``min``, ``max``, ``mean``, ``std``, ``count`` and the quantiles, each ``(n,)`` or, of an image, ``(3, 1, 1)``."""

QUANTILES: Mapping[str, float] = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_LEVELS = 256  # of an 8-bit channel


def vector_statistics(values: NDArray[Any]) -> Statistics:
    """Of one episode's column ``(T, n)``."""
    exact = np.asarray(values, dtype=np.float64)
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": exact.min(axis=0),
        "max": exact.max(axis=0),
        "mean": exact.mean(axis=0),
        "std": exact.std(axis=0),
        "count": np.array([len(exact)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


class ImageStatistics:
    """Of one episode's images, from histograms of their levels."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, _LEVELS), dtype=np.int64)
        self._images = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count an image ``(3, H, W)``."""
        self._images += 1
        for counts, channel in zip(self._counts, image, strict=True):
            counts += np.bincount(channel.ravel(), minlength=_LEVELS)

    def result(self) -> Statistics:
        """Of the images so far, in [0, 1], each ``(3, 1, 1)``; at least one image was added."""
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        shares = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = shares @ levels
        spread = (levels - mean[:, None]) ** 2
        present = self._counts > 0
        cumulative = self._counts.cumsum(axis=1)
        results = {
            "min": levels[present.argmax(axis=1)],
            "max": levels[_LEVELS - 1 - present[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt((shares * spread).sum(axis=1)),
            **{
                name: levels[(cumulative >= quantile * cumulative[:, -1:]).argmax(axis=1)]
                for name, quantile in QUANTILES.items()
            },
        }
        return {key: value.reshape(3, 1, 1) for key, value in results.items()} | {"count": np.array([self._images])}


def merge(total: Statistics | None, episode: Statistics) -> Statistics:
    """The statistics of all episodes so far and one more.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    if total is None:
        return episode
    count = total["count"] + episode["count"]
    share = episode["count"][0] / count[0]
    step = episode["mean"] - total["mean"]
    variance = (1 - share) * total["std"] ** 2 + share * episode["std"] ** 2 + share * (1 - share) * step**2
    return {
        "min": np.minimum(total["min"], episode["min"]),
        "max": np.maximum(total["max"], episode["max"]),
        "mean": total["mean"] + share * step,
        "std": np.sqrt(variance),
        "count": count,
        **{name: total[name] + share * (episode[name] - total[name]) for name in QUANTILES},
    }
