# SPDX-License-Identifier: Apache-2.0
"""How a real robot's controllers turn commands into setpoints: trajectory following and position forwarding.

The behaviour is that of ros2_controllers' joint_trajectory_controller and forward_command_controller in Jazzy, with two
differences for the good of a test robot: values that are not finite are refused instead of followed, and points are
joined by cubics or straight lines only (accelerations are not used).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import PolicyRosError

Vector = NDArray[np.float64]

_ZERO_VELOCITY = 1e-5  # [rad/s, m/s]


class CommandRefused(PolicyRosError):
    """A command that a real controller would not follow either; the one before stays in force."""


class TrajectoryPoint(NamedTuple):
    """Where the joints shall be, in the order of the trajectory's names, [ns], [rad], [rad/s]."""

    time_from_start_ns: int
    positions: Sequence[float]
    velocities: Sequence[float] = ()


@dataclass(frozen=True)
class Trajectory:
    """A command to a trajectory controller. ``start_ns``: on the controller's clock; None means at once."""

    joint_names: Sequence[str]
    points: Sequence[TrajectoryPoint]
    start_ns: int | None = None


class _Knot(NamedTuple):
    """A place on the way; ``cubic`` tells how the way leads to it from the knot before."""

    time_ns: int
    position: Vector
    velocity: Vector
    cubic: bool


_time = attrgetter("time_ns")


class JointTrajectoryFollower:
    """Follows the newest trajectory; a trajectory that starts in the future leaves the old one in force until then.

    Points of a new trajectory that are already past are skipped, and the way to the first one left begins at the
    setpoint of the moment, with its velocity. After the last point the position is kept.

    Args:
        joints: the controller's joints in its own order; a trajectory must name all of them, in any order.
        positions: where the joints are, ``(J,)``.
        allow_nonzero_velocity_at_end: accept a trajectory whose last point still moves.
    """

    def __init__(
        self, joints: Sequence[str], positions: Vector, *, allow_nonzero_velocity_at_end: bool = False
    ) -> None:
        self.joints = tuple(joints)
        self._allow_moving_end = allow_nonzero_velocity_at_end
        self._knots: list[_Knot] = []
        self.reset(positions)

    def reset(self, positions: Vector) -> None:
        """Forget the trajectory and keep ``positions`` ``(J,)``."""
        still = np.zeros(len(self.joints))
        self._knots = [_Knot(0, np.array(positions, dtype=np.float64), still, cubic=False)]

    def accept(self, trajectory: Trajectory, now_ns: int) -> None:
        """Take over a new trajectory.

        Raises:
            CommandRefused: it is empty, over, inconsistent, not finite, or does not come to rest.
        """
        start_ns = now_ns if trajectory.start_ns is None else trajectory.start_ns
        knots = self._checked(trajectory, start_ns)
        ahead = [knot for knot in knots if knot.time_ns >= now_ns]
        if not ahead:
            raise CommandRefused(
                f"trajectory: expected one that ends in the future, got one that ended "
                f"{(now_ns - knots[-1].time_ns) * 1e-9:.3f} s ago; check header.stamp and the clocks"
            )
        splice_ns = max(start_ns, now_ns)
        position, velocity = self.sample(splice_ns)
        current = bisect.bisect_right(self._knots, splice_ns, key=_time)
        under_way_cubic = current < len(self._knots) and self._knots[current].cubic
        first_needed = max(0, bisect.bisect_right(self._knots, now_ns, key=_time) - 1)
        self._knots = [
            *self._knots[first_needed:current],
            _Knot(splice_ns, position, velocity, under_way_cubic),
            *ahead,
        ]

    def sample(self, now_ns: int) -> tuple[Vector, Vector]:
        """Setpoint at ``now_ns``: positions and velocities, each ``(J,)`` [rad, rad/s]."""
        after = bisect.bisect_right(self._knots, now_ns, key=_time)
        if after == 0 or after == len(self._knots):
            knot = self._knots[max(0, after - 1)]
            return knot.position, np.zeros_like(knot.position)
        return _between(self._knots[after - 1], self._knots[after], now_ns)

    def _checked(self, trajectory: Trajectory, start_ns: int) -> list[_Knot]:
        """The trajectory's points in the controller's joint order."""
        order = self._order(trajectory.joint_names)
        if not trajectory.points:
            raise CommandRefused("trajectory: expected at least one point, got none; ignored")
        knots: list[_Knot] = []
        still = np.zeros(len(order))
        for index, point in enumerate(trajectory.points):
            positions = _numbers("positions of point", point.positions, order, index)
            moving = len(point.velocities) > 0
            velocities = _numbers("velocities of point", point.velocities, order, index) if moving else still
            time_ns = start_ns + point.time_from_start_ns
            if knots and time_ns <= knots[-1].time_ns:
                raise CommandRefused(
                    f"trajectory: expected strictly increasing time_from_start, got "
                    f"{point.time_from_start_ns * 1e-9:g} s at point {index} "
                    f"after {trajectory.points[index - 1].time_from_start_ns * 1e-9:g} s"
                )
            cubic = moving and (not knots or len(trajectory.points[index - 1].velocities) > 0)
            knots.append(_Knot(time_ns, positions, velocities, cubic))
        self._require_rest(knots[-1])
        return knots

    def _order(self, names: Sequence[str]) -> Sequence[int]:
        if tuple(names) == self.joints:
            return range(len(self.joints))
        if sorted(names) != sorted(self.joints):
            raise CommandRefused(
                f"trajectory: expected joint_names {', '.join(self.joints)} in any order, "
                f"got {', '.join(names) or 'none'}"
            )
        return [list(names).index(joint) for joint in self.joints]

    def _require_rest(self, last: _Knot) -> None:
        if self._allow_moving_end:
            return
        for joint, velocity in zip(self.joints, last.velocity, strict=True):
            if abs(velocity) > _ZERO_VELOCITY:
                raise CommandRefused(
                    f"trajectory: expected velocity zero at the last point, got {velocity:.4g} for {joint}; "
                    "end at rest or set allow_nonzero_velocity_at_trajectory_end"
                )


class PositionForwarder:
    """Hands the newest position command on.

    Args:
        joints: the order of the command's values.
        positions: where the joints are, ``(J,)``.
    """

    def __init__(self, joints: Sequence[str], positions: Vector) -> None:
        self.joints = tuple(joints)
        self._target = np.array(positions, dtype=np.float64)

    def reset(self, positions: Vector) -> None:
        """Forget the command and keep ``positions`` ``(J,)``."""
        self._target = np.array(positions, dtype=np.float64)

    def accept(self, positions: Sequence[float]) -> None:
        """Take over a new command ``(J,)`` [rad, m].

        Raises:
            CommandRefused: another number of values than joints, or one that is not finite.
        """
        self._target = _numbers("positions of", positions, range(len(self.joints)), ", ".join(self.joints))

    def sample(self, now_ns: int) -> tuple[Vector, Vector]:
        """Setpoint: the command itself, at rest, each ``(J,)``."""
        return self._target, np.zeros_like(self._target)


class RateLimiter:
    """Lets a setpoint follow a command no faster than ``max_velocity`` ``(J,)`` [rad/s, m/s]; ``inf`` is no limit."""

    def __init__(self, max_velocity: Vector, positions: Vector) -> None:
        self._max_velocity = np.array(max_velocity, dtype=np.float64)
        self._setpoint = np.array(positions, dtype=np.float64)

    def reset(self, positions: Vector) -> None:
        """Start from ``positions`` ``(J,)``."""
        self._setpoint = np.array(positions, dtype=np.float64)

    def limit(self, command: Vector, dt_s: float) -> Vector:
        """The setpoint ``dt_s`` after the last one, ``(J,)``."""
        reach = self._max_velocity * dt_s
        self._setpoint = self._setpoint + np.clip(command - self._setpoint, -reach, reach)
        return self._setpoint


def _between(before: _Knot, after: _Knot, now_ns: int) -> tuple[Vector, Vector]:
    """Position and velocity on the way between two knots: cubic Hermite, or straight."""
    length = (after.time_ns - before.time_ns) * 1e-9
    u = (now_ns - before.time_ns) * 1e-9 / length
    rise = after.position - before.position
    if not after.cubic:
        return before.position + u * rise, rise / length
    v0, v1 = before.velocity * length, after.velocity * length
    a, b = 3.0 * rise - 2.0 * v0 - v1, v0 + v1 - 2.0 * rise
    position = before.position + u * (v0 + u * (a + u * b))
    return position, (v0 + u * (2.0 * a + 3.0 * u * b)) / length


def _numbers(what: str, values: Sequence[float], order: Sequence[int], which: object) -> Vector:
    """Finite values, one for each of the joints, in their order."""
    if len(values) != len(order):
        raise CommandRefused(f"{what} {which}: expected {len(order)} values, got {len(values)}")
    # A sum of finite numbers may be infinite, but never the other way round.
    if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
        raise CommandRefused(f"{what} {which}: expected finite values, got {list(values)}")
    return np.array([values[i] for i in order], dtype=np.float64)
