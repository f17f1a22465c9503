# SPDX-License-Identifier: Apache-2.0
"""A scripted solution of ``policy_ros/Pick-v0`` that sees the whole state; for tests and demonstrations.

The action is a function of the present state alone, with no memory of earlier steps: what a policy that sees one
observation can imitate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.kinematics import radial_pose, wrap
from policy_ros.simulation.physics import SUBSTEP_S, Point, World
from policy_ros.simulation.task import SUCCESS_DISTANCE


@dataclass(frozen=True)
class Expert:
    """Turns to the puck with the hand drawn back, reaches out, closes, carries it to the goal, opens, draws back.

    The hand always points away from the base, so its place is an azimuth and a radius.

    Attributes:
        retracted: radius at which the hand turns without touching a puck [m].
        lead: the commanded tool pose runs at most so far ahead of the measured one [m]; with the servos' gain this
            sets the speed.
    """

    retracted: float = 0.20
    lead: float = 0.014
    aligned: float = 0.006  # [m] sideways, to reach out
    centred: float = 0.004  # [m] ahead, to close
    placed: float = 0.25 * SUCCESS_DISTANCE  # [m] from the goal, to open

    def action(self, env: PickEnv) -> NDArray[np.float32]:
        """Absolute joint positions and gap for the present state of ``env``, ``(4,)`` float32 [rad, m]."""
        return self.command(env.world, env.goal.position)

    def command(self, world: World, goal: Point) -> NDArray[np.float32]:
        """As :meth:`action`, for a state given directly."""
        azimuth, radius, gap = self._wanted(world, goal)
        tool = world.points.tool
        here, distance = math.atan2(tool.y, tool.x), math.hypot(tool.x, tool.y)
        turn = _clip(wrap(azimuth - here), self.lead / distance)
        reach = _clip(radius - distance, self.lead)
        angles = world.arm.inverse(radial_pose(here + turn, max(self.retracted, distance + reach)))
        return np.array([*angles, gap], dtype=np.float32)

    def plan(
        self, world: World, goal: Point, in_force: NDArray[np.float64], rows: int, period_s: float
    ) -> NDArray[np.float64]:
        """This command and the following ones, foreseen in a copy of the world where every command acts a period late.

        Args:
            world: now; stays as it is.
            goal: (x, y) [m], taken to stand still.
            in_force: ``(4,)`` what the robot follows until the first of these commands acts [rad, m].
            rows: how many.
            period_s: between two commands, a multiple of ``SUBSTEP_S`` [s].

        Returns:
            ``(rows, 4)`` [rad, m]; the first row is :meth:`command`.
        """
        foreseen = replace(world, servos=[replace(servo) for servo in world.servos])
        plan: list[NDArray[np.float64]] = []
        while True:
            plan.append(self.command(foreseen, goal).astype(np.float64))
            if len(plan) == rows:
                return np.stack(plan)
            acting = (plan[-2] if len(plan) > 1 else in_force).tolist()
            for _ in range(round(period_s / SUBSTEP_S)):
                foreseen.substep(acting)

    def _wanted(self, world: World, goal: Point) -> tuple[float, float, float]:
        """Tool azimuth [rad], radius [m] and gap [m] to head for."""
        tool, puck = world.points.tool, world.puck
        here, distance = math.atan2(tool.y, tool.x), math.hypot(tool.x, tool.y)
        opened, closed = world.arm.upper_limit[3], 2 * world.table.puck_radius - 0.010
        if world.grasp is not None:
            if math.dist(puck, goal) <= self.placed:
                return here, distance, opened
            ahead = world.grasp[0]
            return math.atan2(goal[1], goal[0]), math.hypot(*goal) - ahead, closed
        if math.dist(puck, goal) <= SUCCESS_DISTANCE:
            return here, self.retracted if world.gap > opened - 0.02 else distance, opened
        azimuth, radius = math.atan2(puck[1], puck[0]), math.hypot(*puck)
        sideways = abs(radius * math.sin(wrap(azimuth - here)))
        if sideways > self.aligned and distance < radius - 0.05:
            return azimuth, self.retracted, opened
        if sideways > 2.5 * self.aligned:
            return here, self.retracted, opened  # beside the puck: back first, then turn
        if abs(radius - distance) > self.centred:
            return azimuth, radius, opened
        return azimuth, radius, closed


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
