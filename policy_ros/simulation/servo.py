# SPDX-License-Identifier: Apache-2.0
"""A joint's position loop: follows a position command within velocity and acceleration limits."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Servo:
    """One joint, in rad (or m) and seconds.

    The wanted velocity is proportional to the position error, never more than what can still be braked away before
    the target, and is reached within the acceleration limit. A moving target is followed ``1 / gain`` seconds late,
    as by a robot's own position loop without feed-forward.
    """

    position: float
    max_velocity: float
    max_acceleration: float
    gain: float = 20.0
    velocity: float = 0.0

    def step(self, target: float, dt: float) -> None:
        """Move towards ``target`` for ``dt`` seconds."""
        error = target - self.position
        distance = abs(error)
        # Half the limit is kept for the change from this braking curve to the proportional one, or it would overshoot.
        speed = min(self.gain * distance, math.sqrt(self.max_acceleration * distance), self.max_velocity)
        change = math.copysign(speed, error) - self.velocity
        limit = self.max_acceleration * dt
        self.velocity += max(-limit, min(limit, change))
        self.position += self.velocity * dt

    def stop_at(self, position: float) -> None:
        """Something is in the way: be at ``position``, at rest."""
        self.position, self.velocity = position, 0.0
