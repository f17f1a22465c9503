# SPDX-License-Identifier: Apache-2.0
"""How the robot was last commanded to move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Motion:
    """State of the commands at one row, arrays ``(A,)``.

    Attributes:
        position: the row itself [rad, m]; NaN for joints of which nothing is known.
        velocity: from the row before to it [rad/s, m/s].
        acceleration: change of the velocity [rad/s², m/s²].
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    acceleration: NDArray[np.float64]

    @classmethod
    def at_rest(cls, position: NDArray[np.float64]) -> Motion:
        """Standing at ``position`` ``(A,)``."""
        still = np.zeros(len(position))
        return cls(np.asarray(position, dtype=np.float64), still, still)

    def advance(self, row: NDArray[np.float64], dt: float) -> Motion:
        """The motion after commanding ``row`` ``(A,)``, ``dt`` later; a joint that was not known begins at rest."""
        velocity = np.nan_to_num((row - self.position) / dt, nan=0.0)
        return Motion(row, velocity, (velocity - self.velocity) / dt)
