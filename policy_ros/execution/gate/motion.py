# SPDX-License-Identifier: Apache-2.0
"""How the robot was last commanded to move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """State of the commands at one row, arrays ``(A,)``.

    Attributes:
        position: the row itself [rad, m]; NaN for joints of which nothing is known.
        velocity: from the row before to it [rad/s, m/s].
        acceleration: change of the velocity [rad/s², m/s²].
        wanted: the row that was asked for; the robot lags where it is not ``position`` [rad, m].
        course: velocity of the rows that are asked for [rad/s, m/s].
    """

    position: Array
    velocity: Array
    acceleration: Array
    wanted: Array
    course: Array

    @classmethod
    def at_rest(cls, position: Array) -> Motion:
        """Standing at ``position`` ``(A,)``."""
        place = np.asarray(position, dtype=np.float64)
        still = np.zeros(len(place))
        return cls(place, still, still, place, still)

    def advance(self, row: Array, dt: float, wanted: NDArray[np.floating] | None = None) -> Motion:
        """The motion after commanding ``row`` ``(A,)``, ``dt`` later, where ``wanted`` was asked for (None: the same).

        A joint of which nothing was known begins at rest.
        """
        asked = row if wanted is None else np.asarray(wanted, dtype=np.float64)
        velocity, course = (row - self.position) / dt, (asked - self.wanted) / dt
        unknown = np.isnan(self.position)
        if np.count_nonzero(unknown):
            velocity, course = np.where(unknown, 0.0, velocity), np.where(unknown, 0.0, course)
        return Motion(row, velocity, (velocity - self.velocity) / dt, asked, course)

    def known_from(self, row: Array) -> Motion:
        """The same, where a joint of which nothing is known stands at ``row`` ``(A,)``."""
        unknown = np.isnan(self.position)
        if not np.count_nonzero(unknown):
            return self
        position, wanted = np.where(unknown, row, self.position), np.where(unknown, row, self.wanted)
        return Motion(position, self.velocity, self.acceleration, wanted, self.course)
