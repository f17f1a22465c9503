# SPDX-License-Identifier: Apache-2.0
"""An expert with an unsteady hand, known as a distribution: of the ways on from where the arm is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.bench.execution.task import DURATION_S, HORIZON, JOINTS, PERIOD_S, SIDES, ForkedPath

FloatArray = NDArray[np.float64]

DEVIATION_RAD = 0.03  # of the hand from its way
_LENGTH_S = 0.25  # over which it changes
_ASTRAY_SHARE = 0.3  # of the demonstrations, which begin anywhere between the two ways or up to so far beside them:
_ASTRAY_RAD = 0.1


@dataclass(frozen=True)
class Continuations:
    """The expert's ways on, a mixture of Gaussians with one covariance, see :attr:`Expert.covariance`.

    Attributes:
        means: ``(…, M, H, A)`` [rad], a way for each side.
        log_weights: ``(…, M)``, up to a constant.
    """

    means: FloatArray
    log_weights: FloatArray


class Expert:
    """Follows either way with a smooth deviation, a Gaussian process, and is asked to go on from a given position.

    Before a fork both ways are equally likely. Beyond it the position tells, by Bayes' rule: the likelihood of a
    position is normal around each way. Deviations fade as far as the process forgets them.

    Args:
        path: the task.
    """

    def __init__(self, path: ForkedPath) -> None:
        self._path = path
        self._ahead_s = PERIOD_S * np.arange(1, HORIZON + 1, dtype=np.float64)  # row 0 is the step after the position
        self.covariance = smooth_covariance(HORIZON, DEVIATION_RAD, _LENGTH_S / PERIOD_S)  # (H, H) [rad^2], each joint
        self._root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(HORIZON))

    def continuations(self, positions: FloatArray) -> Continuations:
        """From ``(…, A)`` positions [rad]."""
        now_s = self._path.progress_s(positions)[..., None]
        fading = np.exp(-0.5 * (self._ahead_s / _LENGTH_S) ** 2)[:, None]
        means, log_weights = [], []
        for side in SIDES:
            astray = positions[..., None, :] - self._path.at(now_s, side)
            means.append(self._path.at(now_s + self._ahead_s, side) + fading * astray)
            log_weights.append(-0.5 * (astray[..., 0, 1] / DEVIATION_RAD) ** 2)
        return Continuations(np.stack(means, axis=-3), np.stack(log_weights, axis=-1))

    def demonstrate(self, count: int, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Positions ``(count, A)`` and what the expert did from there, ``(count, H, A)`` [rad]."""
        positions = self._beginnings(count, generator)
        found = self.continuations(positions)
        weights = np.exp(found.log_weights - found.log_weights.max(axis=-1, keepdims=True))
        first = generator.uniform(size=count) < weights[:, 0] / weights.sum(axis=-1)
        means = found.means[np.arange(count), np.where(first, 0, 1)]
        return positions, means + self._root @ generator.standard_normal((count, HORIZON, len(JOINTS)))

    def _beginnings(self, count: int, generator: np.random.Generator) -> FloatArray:
        time_s = generator.uniform(0.0, DURATION_S, size=count)
        share = generator.choice(SIDES, size=count)
        beside = DEVIATION_RAD * generator.standard_normal(count)
        astray = generator.uniform(size=count) < _ASTRAY_SHARE
        share = np.where(astray, generator.uniform(-1.0, 1.0, size=count), share)
        beside = np.where(astray, generator.uniform(-_ASTRAY_RAD, _ASTRAY_RAD, size=count), beside)
        positions = self._path.at(time_s, share)
        positions[:, 1] += beside
        return positions


def smooth_covariance(rows: int, deviation: float, length: float) -> FloatArray:
    """``(rows, rows)`` of a squared-exponential process that is at 0 one row before row 0.

    Deviations grow from nothing at the present to ``deviation`` some ``length`` rows ahead, as those of a policy do
    that knows where the robot is but not which of many demonstrations to follow.

    Source: conditioning of a Gaussian process on one exact value, Rasmussen and Williams, "Gaussian Processes for
    Machine Learning", eq. 2.19 and 4.9.
    """
    row = np.arange(-1, rows, dtype=np.float64)
    prior: FloatArray = deviation**2 * np.exp(-((row[:, None] - row) ** 2) / (2.0 * length**2))
    conditional: FloatArray = prior[1:, 1:] - np.outer(prior[1:, 0], prior[0, 1:]) / prior[0, 0]
    return conditional
