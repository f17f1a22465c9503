# SPDX-License-Identifier: Apache-2.0
"""The arm: servos that follow smooth commands closely, and take their time over a jump."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_ACCELERATION = 15.0  # [rad/s^2], that of a collaborative robot
MAX_VELOCITY = 3.0  # [rad/s]
_SETTLING_S = 0.02  # time constant of small position errors
_STEPS = 10  # of the servo per control period


class Arm:
    """Joints with limited acceleration and velocity, independent of each other.

    The servo goes from one command to the next within a period, with the velocity that this takes fed forward, as a
    trajectory controller does. What it is behind it makes up for as fast as it can still brake for.

    Args:
        position: where it stands, ``(A,)`` [rad].
        period_s: between two commands [s].
    """

    def __init__(self, position: FloatArray, period_s: float) -> None:
        self.position = position.copy()
        self._velocity = np.zeros_like(position)
        self._target = position.copy()
        self._step_s = period_s / _STEPS

    def follow(self, command: FloatArray) -> None:
        """One control period toward ``(A,)`` [rad]."""
        wanted = (command - self._target) / (_STEPS * self._step_s)
        forward = np.clip(wanted, -MAX_VELOCITY, MAX_VELOCITY)
        for _ in range(_STEPS):
            self._target = self._target + wanted * self._step_s
            behind = self._target - self.position
            # The second is the velocity from which it can brake within the distance, at four fifths of the limit.
            catching_up = np.minimum(np.abs(behind) / _SETTLING_S, np.sqrt(1.6 * MAX_ACCELERATION * np.abs(behind)))
            velocity = np.clip(forward + np.sign(behind) * catching_up, -MAX_VELOCITY, MAX_VELOCITY)
            change = MAX_ACCELERATION * self._step_s
            self._velocity = self._velocity + np.clip(velocity - self._velocity, -change, change)
            self.position = self.position + self._velocity * self._step_s
