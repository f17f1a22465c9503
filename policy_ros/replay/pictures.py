# SPDX-License-Identifier: Apache-2.0
"""How bright and how coloured the pictures of a replay were, beside those that the policy was trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.data import FeatureType, Observation
from policy_ros.policies.base import Policy
from policy_ros.policies.modes import NormalizationMode
from policy_ros.replay.trace import PictureTrace

_EVERY_NTH = 4  # pixel of a row and of a column


class TrainedPictures:
    """What a checkpoint says about the pictures that it was trained on.

    Args:
        policy: whose normalisation knows mean and deviation of each colour, where it normalises by them.
    """

    def __init__(self, policy: Policy) -> None:
        self.of_feature: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]] | None] = {}
        statistics = policy.normalization.statistics()
        for key, feature in policy.config.observed_features.items():
            if feature.type is FeatureType.VISUAL:
                self.of_feature[key] = _trained(statistics.get(key, {}))


def _trained(statistics: Mapping[str, Tensor]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Mean and deviation of three colours; None where the checkpoint has others or none."""
    mean, std = (statistics.get(name) for name in NormalizationMode.MEAN_STD.statistics)
    if mean is None or std is None or mean.numel() != 3 or not bool((std > 0.0).all()):
        return None
    return mean.double().reshape(3).numpy(), std.double().reshape(3).numpy()


class PictureAverages:
    """Of one episode.

    Args:
        trained: the features, and what they were trained on.
    """

    def __init__(self, trained: TrainedPictures) -> None:
        self._trained = trained
        self._sums = {key: np.zeros(3) for key in trained.of_feature}
        self._count = 0

    def add(self, observation: Observation) -> None:
        """The newest picture of each camera."""
        for key, total in self._sums.items():
            pixels = np.asarray(observation.features[key])
            newest = pixels.reshape(-1, *pixels.shape[-3:])[-1]  # of a history
            total += newest[:, ::_EVERY_NTH, ::_EVERY_NTH].mean(axis=(1, 2)) / 255.0
        self._count += 1

    def trace(self) -> tuple[PictureTrace, ...]:
        """One for each camera; none without an observation."""
        if self._count == 0:
            return ()
        traces = []
        for key, trained in self._trained.of_feature.items():
            mean, std = trained if trained is not None else (None, None)
            traces.append(PictureTrace(key, self._count, self._sums[key] / self._count, mean, std))
        return tuple(traces)
