# SPDX-License-Identifier: Apache-2.0
"""A smooth random push that takes the arm off its course, so that demonstrations show the way back to it.

Source: M. Laskey, J. Lee, R. Fox, A. Dragan, K. Goldberg, "DART: Noise Injection for Robust Imitation Learning", CoRL
2017. There the noise is white and added to the executed action; here it is correlated in time, because the servos of
the joints would filter white noise away.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class Disturbance:
    """Offsets that wander around zero: white noise through two equal low-passes in a row.

    Args:
        deviation: standard deviation of each offset once it has wandered for a few time constants, ``(J,)`` [rad, m].
        time_constant_s: of each low-pass [s].
        seed: of the random numbers.
    """

    def __init__(self, deviation: NDArray[np.float64], time_constant_s: float, seed: int) -> None:
        self._deviation = np.array(deviation, dtype=np.float64)
        self._time_constant_s = time_constant_s
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin at zero with new random numbers."""
        self._random = np.random.default_rng(seed)
        self._first = np.zeros_like(self._deviation)
        self._second = np.zeros_like(self._deviation)

    def advance(self, dt_s: float) -> NDArray[np.float64]:
        """The offset ``dt_s`` after the last one, ``(J,)`` [rad, m]."""
        kept = math.exp(-dt_s / self._time_constant_s)
        drawn = self._random.standard_normal(len(self._deviation))
        self._first = kept * self._first + math.sqrt(1.0 - kept**2) * drawn  # its variance tends to 1
        self._second = kept * self._second + (1.0 - kept) * self._first
        # Variance of the second: (1 + a^2) / (1 + a)^2 with a = kept, from E[xy] = a^2 E[xy] + 1 - a.
        return self._deviation * self._second * (1.0 + kept) / math.sqrt(1.0 + kept**2)
