# SPDX-License-Identifier: Apache-2.0
"""Several episodes, column by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError
from policy_ros.replay.metrics.alignment import max_lag_steps
from policy_ros.replay.metrics.episode import EpisodeMetrics
from policy_ros.replay.metrics.order import SuspectedOrder, suspected_order
from policy_ros.replay.metrics.pictures import shifts
from policy_ros.replay.metrics.sums import ErrorSums

FloatArray = NDArray[np.float64]


class Pool:
    """E episodes of the same joints and control period, in the given order.

    Args:
        episodes: may be none.

    Raises:
        ConfigurationError: their joints or control periods differ.
    """

    def __init__(self, episodes: Sequence[EpisodeMetrics]) -> None:
        self.episodes = tuple(episodes)
        self.joint_names: tuple[str, ...] = episodes[0].joint_names if episodes else ()
        self.dt_s = episodes[0].dt_s if episodes else 0.0
        for each in episodes:
            if (each.joint_names, each.dt_s) != (self.joint_names, self.dt_s):
                raise ConfigurationError(
                    f"expected episodes of the same joints and control period ({', '.join(self.joint_names)}; "
                    f"{self.dt_s:g} s), got {', '.join(each.joint_names)} and {each.dt_s:g} s in episode {each.index} "
                    f"of {each.bag}"
                )
        self.horizon = max((each.prediction.horizon for each in episodes), default=0)

    def column(self, get: Callable[[EpisodeMetrics], float | None]) -> FloatArray:
        """``(E,)``, NaN for None."""
        return np.array([_number(get(each)) for each in self.episodes], dtype=np.float64)

    def table(self, get: Callable[[EpisodeMetrics], Sequence[float | None]], width: int) -> FloatArray:
        """``(E, width)``, zeros behind shorter rows, NaN for None."""
        table = np.zeros((len(self.episodes), width))
        for row, each in zip(table, self.episodes, strict=True):
            values = get(each)
            row[: len(values)] = [_number(value) for value in values]
        return table

    def joint(self, name: str) -> int:
        """Its place among the joints."""
        return self.joint_names.index(name)

    def errors(
        self, get: Callable[[EpisodeMetrics], ErrorSums], joint: str
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(E,)`` sums of absolute and of squared errors, and their number; over all joints where it is empty."""
        which = slice(None) if not joint else slice(self.joint(joint), self.joint(joint) + 1)
        sums = [get(each) for each in self.episodes]
        parts = ((each.absolute, each.squared, each.count) for each in sums)
        rows = np.array([[sum(part[which]) for part in three] for three in parts], dtype=np.float64).reshape(-1, 3)
        return rows[:, 0], rows[:, 1], rows[:, 2]

    def lag_sums(self) -> tuple[FloatArray, FloatArray]:
        """``(E, 2 L + 1)`` sums of absolute errors by shift, and their numbers."""
        width = 2 * max_lag_steps(self.dt_s) + 1 if self.episodes else 1
        return (
            self.table(lambda each: each.alignment.lag_absolute, width),
            self.table(lambda each: each.alignment.lag_count, width),
        )

    def suspected_order(self) -> list[SuspectedOrder]:
        """Joints that seem to be exchanged in the policy, from the errors of all episodes."""
        joints = len(self.joint_names)
        sums = self.table(lambda each: each.alignment.cross_absolute, joints * joints).sum(axis=0)
        counts = self.table(lambda each: each.alignment.cross_count, joints).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = sums.reshape(joints, joints) / counts
        return suspected_order(errors, self.joint_names)

    def picture_shifts(self) -> tuple[tuple[str, ...], FloatArray, int]:
        """Cameras, ``(C, C)`` distances of their pictures to what each was trained on, number of pictures."""
        return shifts([each.pictures for each in self.episodes])

    def suspected_camera_order(self) -> list[SuspectedOrder]:
        """Cameras that seem to be exchanged, from the pictures of all episodes."""
        features, distances, _ = self.picture_shifts()
        return suspected_order(distances, features)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
