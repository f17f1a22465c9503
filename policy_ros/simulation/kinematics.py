# SPDX-License-Identifier: Apache-2.0
"""Geometry of the simulated arm: three revolute joints with vertical axes, a parallel gripper at the end.

Frame: the base of the arm, x ahead, y to the left, z up (REP 103); angles in rad, counter-clockwise, zero when the
arm is stretched out along x. The tool point lies between the finger tips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from policy_ros.errors import PolicyRosError

ARM_JOINTS = ("joint1", "joint2", "joint3")
GRIPPER_JOINT = "gripper_joint"
JOINT_NAMES = (*ARM_JOINTS, GRIPPER_JOINT)


class UnreachableError(PolicyRosError):
    """The arm cannot take the asked tool pose."""


class Pose(NamedTuple):
    """Position [m] and heading [rad] in the table plane."""

    x: float
    y: float
    heading: float

    def to_local(self, x: float, y: float) -> tuple[float, float]:
        """A point of the base frame as (ahead, left) of this pose [m]."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        dx, dy = x - self.x, y - self.y
        return cos * dx + sin * dy, cos * dy - sin * dx

    def to_base(self, ahead: float, left: float) -> tuple[float, float]:
        """The inverse of :meth:`to_local`."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return self.x + cos * ahead - sin * left, self.y + sin * ahead + cos * left


class ArmPoints(NamedTuple):
    """Where the parts of the arm are; shoulder at the origin."""

    elbow: tuple[float, float]
    wrist: tuple[float, float]
    tool: Pose


@dataclass(frozen=True)
class Arm:
    """Link lengths [m], and limits of the four joints in the order of ``JOINT_NAMES`` [rad, m, s].

    The gripper's position is the gap between its fingers.
    """

    upper: float = 0.22
    fore: float = 0.20
    hand: float = 0.11
    lower_limit: tuple[float, float, float, float] = (-2.6, -2.8, -2.6, 0.0)
    upper_limit: tuple[float, float, float, float] = (2.6, 2.8, 2.6, 0.085)
    max_velocity: tuple[float, float, float, float] = (2.0, 2.5, 3.0, 0.15)
    max_acceleration: tuple[float, float, float, float] = (10.0, 12.0, 15.0, 1.5)

    def forward(self, q1: float, q2: float, q3: float) -> ArmPoints:
        """Positions of elbow, wrist and tool for three joint angles [rad]."""
        elbow = (self.upper * math.cos(q1), self.upper * math.sin(q1))
        a = q1 + q2
        wrist = (elbow[0] + self.fore * math.cos(a), elbow[1] + self.fore * math.sin(a))
        a += q3
        return ArmPoints(
            elbow, wrist, Pose(wrist[0] + self.hand * math.cos(a), wrist[1] + self.hand * math.sin(a), wrap(a))
        )

    def inverse(self, pose: Pose, *, elbow_left: bool = True) -> tuple[float, float, float]:
        """Joint angles [rad] that put the tool at ``pose``; ``elbow_left`` chooses between the two solutions.

        Source: law of cosines on the triangle shoulder, elbow, wrist.

        Raises:
            UnreachableError: too far, too near, or a joint limit is in the way.
        """
        wx = pose.x - self.hand * math.cos(pose.heading)
        wy = pose.y - self.hand * math.sin(pose.heading)
        reach = math.hypot(wx, wy)
        cos_q2 = (reach**2 - self.upper**2 - self.fore**2) / (2 * self.upper * self.fore)
        if not -1.0 <= cos_q2 <= 1.0:
            raise UnreachableError(
                f"tool pose {_text(pose)}: expected the wrist {abs(self.upper - self.fore):.3f} to "
                f"{self.upper + self.fore:.3f} m from the base, got {reach:.3f} m"
            )
        q2 = math.acos(cos_q2) * (-1.0 if elbow_left else 1.0)
        q1 = math.atan2(wy, wx) - math.atan2(self.fore * math.sin(q2), self.upper + self.fore * math.cos(q2))
        angles = (wrap(q1), q2, wrap(pose.heading - q1 - q2))
        limits = zip(self.lower_limit[:3], self.upper_limit[:3], strict=True)
        for name, angle, (low, high) in zip(ARM_JOINTS, angles, limits, strict=True):
            if not low <= angle <= high:
                raise UnreachableError(
                    f"tool pose {_text(pose)}: expected {name} within {low} to {high} rad, got {angle:.3f}"
                )
        return angles


def radial_pose(azimuth: float, radius: float) -> Pose:
    """Tool ``radius`` [m] from the base in direction ``azimuth`` [rad], pointing away from the base."""
    return Pose(radius * math.cos(azimuth), radius * math.sin(azimuth), azimuth)


def wrap(angle: float) -> float:
    """The same angle within -pi to pi [rad]."""
    return math.remainder(angle, math.tau)


def _text(pose: Pose) -> str:
    return f"({pose.x:.3f} m, {pose.y:.3f} m, {pose.heading:.2f} rad)"
