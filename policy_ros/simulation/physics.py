# SPDX-License-Identifier: Apache-2.0
"""Physics of the table: servos, fingers that push or hold the puck, walls; quasi-static, at a fixed step.

Friction dominates: the puck moves only while something pushes or carries it, so contacts are solved on positions,
and no contact can throw it. The arm moves above the table; only the fingers and the palm behind them reach down to the
puck. What cannot give way (a held puck against a wall) stalls the arm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from policy_ros.simulation.kinematics import Arm, ArmPoints, Pose
from policy_ros.simulation.servo import Servo

SUBSTEP_S = 1.0 / 200.0
Point = tuple[float, float]


@dataclass(frozen=True)
class Table:
    """What stands on the table and where it ends [m], in the arm's frame."""

    x_min: float = -0.06
    x_max: float = 0.50
    y_min: float = -0.38
    y_max: float = 0.38
    base_radius: float = 0.055
    puck_radius: float = 0.022


@dataclass(frozen=True)
class Gripper:
    """Shape of the gripper in the tool frame [m]: two fingers along x, a palm across behind them."""

    finger_back: float = -0.035
    finger_front: float = 0.020
    finger_thickness: float = 0.010
    palm_half_width: float = 0.045
    palm_thickness: float = 0.012

    def finger_offset(self, gap: float) -> float:
        """Distance of a finger's centre line from the tool axis."""
        return 0.5 * (gap + self.finger_thickness)

    def parts(self, gap: float) -> Iterator[tuple[Point, Point, float]]:
        """Right finger, left finger and palm as (start, end, radius) in the tool frame."""
        offset = self.finger_offset(gap)
        for left in (-offset, offset):
            yield (self.finger_back, left), (self.finger_front, left), 0.5 * self.finger_thickness
        yield (
            (self.finger_back, -self.palm_half_width),
            (self.finger_back, self.palm_half_width),
            0.5 * self.palm_thickness,
        )


GRASP_MAX_TOOL_SPEED = 0.15  # [m/s] a faster hand knocks the puck instead of holding it
RELEASE_CLEARANCE = 0.003  # [m] gap beyond the puck's width at which it is let go
CONTACT_SLACK = 0.001  # [m] penetration tolerated before the arm stalls
CONTACT_ROUNDS = 4  # contacts solved in turn until none is left, at most so often


@dataclass
class World:
    """Arm and puck. Advance with :meth:`substep`; everything is a plain function of the commands so far."""

    arm: Arm = field(default_factory=Arm)
    table: Table = field(default_factory=Table)
    gripper: Gripper = field(default_factory=Gripper)
    puck: Point = (0.3, 0.0)
    puck_speed: float = 0.0
    grasp: Point | None = None  # the puck in the tool frame while it is held
    servos: list[Servo] = field(default_factory=list)
    points: ArmPoints = field(init=False)

    def __post_init__(self) -> None:
        if not self.servos:
            self.servos = [
                Servo(0.0, velocity, acceleration)
                for velocity, acceleration in zip(self.arm.max_velocity, self.arm.max_acceleration, strict=True)
            ]
        self._update_points()

    @property
    def positions(self) -> tuple[float, ...]:
        """Joint positions, the last one the gap between the fingers [rad, m]."""
        return tuple(servo.position for servo in self.servos)

    @property
    def velocities(self) -> tuple[float, ...]:
        """Joint velocities [rad/s, m/s]."""
        return tuple(servo.velocity for servo in self.servos)

    @property
    def gap(self) -> float:
        """Opening of the gripper [m]."""
        return self.servos[3].position

    def place(self, positions: Sequence[float]) -> None:
        """Put the arm somewhere at rest; it lets go of the puck."""
        for servo, position in zip(self.servos, positions, strict=True):
            servo.stop_at(position)
        self.grasp = None
        self._update_points()

    def place_puck(self, x: float, y: float) -> None:
        """Put the puck down at rest."""
        self.puck, self.puck_speed, self.grasp = (x, y), 0.0, None

    def substep(self, command: Sequence[float]) -> None:
        """Advance by ``SUBSTEP_S`` towards four commanded joint positions [rad, m], already within the limits."""
        before = [(servo.position, servo.velocity) for servo in self.servos]
        tool = self.points.tool
        for servo, target in zip(self.servos, command, strict=True):
            servo.step(target, SUBSTEP_S)
        if not self._settle(tool):
            # Jammed: first the arm gives in and the fingers may still open, then everything does.
            for servo, (position, _) in zip(self.servos[:3], before[:3], strict=True):
                servo.stop_at(position)
            if not self._settle(tool):
                self.servos[3].stop_at(before[3][0])
                self._update_points()
                self.puck_speed = 0.0

    def _settle(self, tool_before: Pose) -> bool:
        """Find the puck's place for the new arm position; False, and the puck stays, if there is none."""
        self._update_points()
        puck, grasp = self.puck, self.grasp
        width = 2 * self.table.puck_radius
        if grasp is not None and self.gap > width + RELEASE_CLEARANCE:
            grasp = None
        ahead, left = self.points.tool.to_local(*puck)
        squeezed = grasp is not None or self._between_fingers(ahead, left)
        if squeezed and self.gap <= width and self.servos[3].velocity < 0.0:
            self.servos[3].stop_at(width)
            slow = _distance(tool_before[:2], self.points.tool[:2]) <= GRASP_MAX_TOOL_SPEED * SUBSTEP_S
            if grasp is None and slow:
                grasp = (ahead, 0.0)
        if grasp is not None:
            puck = self.points.tool.to_base(*grasp)
            if _distance(puck, self._onto_table(puck)) > CONTACT_SLACK:
                return False
        else:
            puck = self._push_out(puck)
            if self._penetration(puck) > CONTACT_SLACK:
                return False
        self.puck_speed = _distance(puck, self.puck) / SUBSTEP_S
        self.puck, self.grasp = puck, grasp
        return True

    def _between_fingers(self, ahead: float, left: float) -> bool:
        shape = self.gripper
        return shape.finger_back < ahead < shape.finger_front and abs(left) < shape.finger_offset(self.gap)

    def _push_out(self, puck: Point) -> Point:
        """The puck moved out of fingers, palm, base and walls, as far as there is room."""
        for _ in range(CONTACT_ROUNDS):
            moved = puck
            ahead, left = self.points.tool.to_local(*moved)
            for start, end, radius in self.gripper.parts(self.gap):
                ahead, left = _outside_capsule((ahead, left), start, end, radius + self.table.puck_radius)
            moved = self._onto_table(self.points.tool.to_base(ahead, left))
            if _distance(moved, puck) < 1e-7:
                return puck  # exactly where it was: a puck that nothing touches does not creep
            puck = moved
        return puck

    def _penetration(self, puck: Point) -> float:
        """Depth to which fingers or palm still overlap the puck [m]."""
        local = self.points.tool.to_local(*puck)
        return max(
            _distance(local, _outside_capsule(local, start, end, radius + self.table.puck_radius))
            for start, end, radius in self.gripper.parts(self.gap)
        )

    def _onto_table(self, puck: Point) -> Point:
        table, radius = self.table, self.table.puck_radius
        x, y = _outside_capsule(puck, (0.0, 0.0), (0.0, 0.0), table.base_radius + radius)
        return (
            min(max(x, table.x_min + radius), table.x_max - radius),
            min(max(y, table.y_min + radius), table.y_max - radius),
        )

    def _update_points(self) -> None:
        self.points = self.arm.forward(*(servo.position for servo in self.servos[:3]))


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def _outside_capsule(point: Point, start: Point, end: Point, radius: float) -> Point:
    """``point``, moved straight away from the segment until it is ``radius`` from it."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length2 = dx * dx + dy * dy
    along = 0.0
    if length2 > 0.0:
        along = min(1.0, max(0.0, ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / length2))
    nearest = (start[0] + along * dx, start[1] + along * dy)
    distance = _distance(point, nearest)
    if distance >= radius:
        return point
    if distance < 1e-9:  # on the line: any way out is as short as another, take a fixed one
        return nearest[0] + radius, nearest[1]
    scale = radius / distance
    return nearest[0] + scale * (point[0] - nearest[0]), nearest[1] + scale * (point[1] - nearest[1])
