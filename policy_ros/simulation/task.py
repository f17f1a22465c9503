# SPDX-License-Identifier: Apache-2.0
"""The task on the table: where puck and goal start, how the goal moves, when it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policy_ros.simulation.physics import RELEASE_CLEARANCE, Point, World

MIN_RADIUS, MAX_RADIUS = 0.27, 0.43  # [m] from the base: the gripper reaches around a puck there, pointing outwards
MAX_AZIMUTH = 0.9  # [rad] to either side of straight ahead; the table ends a little beyond
MIN_SEPARATION = 0.12  # [m] of puck and goal
TOOL_CLEARANCE = 0.09  # [m] of a new puck from the tool point
SUCCESS_DISTANCE = 0.02  # [m]
REST_SPEED = 0.005  # [m/s]
_MAX_DRAWS = 1000


@dataclass
class Goal:
    """A marked place at a distance from the base; it may swing to and fro on the circle around the base.

    ``speed`` [m/s] is signed; the goal turns back at ``MAX_AZIMUTH`` on either side.
    """

    azimuth: float
    radius: float
    speed: float = 0.0

    @property
    def position(self) -> Point:
        """(x, y) [m] in the arm's frame."""
        return self.radius * math.cos(self.azimuth), self.radius * math.sin(self.azimuth)

    def advance(self, dt: float) -> None:
        """Move on for ``dt`` seconds."""
        if self.speed == 0.0:
            return
        self.azimuth += self.speed * dt / self.radius
        if abs(self.azimuth) > MAX_AZIMUTH:
            self.azimuth = math.copysign(2 * MAX_AZIMUTH, self.azimuth) - self.azimuth
            self.speed = -self.speed


def draw_task(random: np.random.Generator, tool: Point, goal_speed: float) -> tuple[Point, Goal]:
    """Puck position and goal, both within reach, apart from each other, the puck apart from the tool."""
    for _ in range(_MAX_DRAWS):
        puck, goal = _draw_place(random), _draw_place(random)
        direction = 1.0 if random.random() < 0.5 else -1.0
        drawn = Goal(goal[0], goal[1], direction * goal_speed)
        place = Goal(*puck).position
        if math.dist(place, drawn.position) >= MIN_SEPARATION and math.dist(place, tool) >= TOOL_CLEARANCE:
            return place, drawn
    raise RuntimeError(f"no free places for puck and goal found in {_MAX_DRAWS} draws: the limits in task.py conflict")


def _draw_place(random: np.random.Generator) -> tuple[float, float]:
    """(azimuth, radius), uniform over the area."""
    azimuth = random.uniform(-MAX_AZIMUTH, MAX_AZIMUTH)
    radius = math.sqrt(random.uniform(MIN_RADIUS**2, MAX_RADIUS**2))
    return float(azimuth), float(radius)


def is_success(world: World, goal: Goal) -> bool:
    """The puck lies on the goal, let go and at rest."""
    return (
        math.dist(world.puck, goal.position) <= SUCCESS_DISTANCE
        and world.grasp is None
        and world.gap > 2 * world.table.puck_radius + RELEASE_CLEARANCE
        and world.puck_speed <= REST_SPEED
    )
