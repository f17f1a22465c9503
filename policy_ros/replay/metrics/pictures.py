# SPDX-License-Identifier: Apache-2.0
"""Pictures beside those that the policy was trained on: what shows a camera that is another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.metrics.rounding import floats
from policy_ros.replay.trace import PictureTrace


@dataclass(frozen=True)
class PictureMetrics:
    """The pictures of one episode, of the cameras that the checkpoint knows mean and deviation of.

    Attributes:
        features: C keys.
        count: pictures of each camera.
        mean: of red, green and blue, 0 to 1, one camera after the other: 3 C values.
        trained_mean: likewise, of what the policy was trained on.
        trained_std: likewise.
    """

    features: tuple[str, ...]
    count: int
    mean: tuple[float, ...]
    trained_mean: tuple[float, ...]
    trained_std: tuple[float, ...]

    @staticmethod
    def of(traces: Sequence[PictureTrace]) -> PictureMetrics:
        """Of one episode."""
        known = [(each, each.trained_mean, each.trained_std) for each in traces if each.trained_mean is not None]
        return PictureMetrics(
            features=tuple(each.feature for each, _, _ in known),
            count=known[0][0].count if known else 0,
            mean=_joined([each.mean for each, _, _ in known]),
            trained_mean=_joined([mean for _, mean, _ in known]),
            trained_std=_joined([std for _, _, std in known]),
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> PictureMetrics:
        """From what ``dataclasses.asdict`` made."""
        values = (tuple(value[name]) for name in ("mean", "trained_mean", "trained_std"))
        return PictureMetrics(tuple(value["features"]), int(value["count"]), *values)


def shifts(episodes: Sequence[PictureMetrics]) -> tuple[tuple[str, ...], NDArray[np.float64], int]:
    """Cameras, ``(C, C)`` how far the pictures of camera j are from what camera k was trained on, and their number.

    The distance is the root mean square over colours of the difference of means, in deviations of camera k's pixels.
    Empty where no checkpoint says anything, or where the episodes are of different ones.
    """
    known = [each for each in episodes if each.count]
    kinds = {(each.features, each.trained_mean, each.trained_std) for each in known}
    if len(kinds) != 1:
        return (), np.zeros((0, 0)), 0
    (features, trained_mean, trained_std), shape = next(iter(kinds)), (-1, 3)
    counts = np.array([each.count for each in known])
    mean = np.average(np.array([each.mean for each in known]), axis=0, weights=counts).reshape(shape)
    offsets = mean[:, None] - np.array(trained_mean).reshape(shape)
    scaled = offsets / np.array(trained_std).reshape(shape)
    return features, np.sqrt((scaled**2).mean(axis=-1)), int(counts.sum())


def _joined(colours: Sequence[NDArray[np.float64] | None]) -> tuple[float, ...]:
    return floats(np.concatenate([np.empty(0), *(each for each in colours if each is not None)]))
