# SPDX-License-Identifier: Apache-2.0
"""``trajectory_msgs/JointTrajectory`` to a joint trajectory controller: a short window of future points on every tick.

Each message starts a little in the future, so that the controller splices it into the motion under way, and carries
velocities, so that it passes through the points instead of stopping at each. The last point has velocity zero: Jazzy's
controller refuses others by default, and if this node dies the arm comes to rest there. While the node lives, the next
message replaces the window before its end is reached.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.outputs.base import Output

_NS = 1_000_000_000


class JointTrajectoryOutput(Output):
    """Trajectories over all joints of the controller, usually on ``<controller>/joint_trajectory``."""

    message_type = JointTrajectory

    def _message(self, rows, previous, stamp_ns) -> JointTrajectory:
        message = JointTrajectory(joint_names=list(self.joints))
        message.header.stamp = ns_to_stamp(stamp_ns + round(self._lead_s * _NS))
        velocities = central_velocities(rows, previous, self._dt_s)
        for i, (position, velocity) in enumerate(zip(rows, velocities, strict=True)):
            message.points.append(_point(position, velocity, i * self._dt_s))
        return message

    def _hold_message(self, positions) -> JointTrajectory:
        # Stamp zero: from the moment it arrives. A controller refuses what ends in the past, as a late hold would.
        point = _point(positions, np.zeros_like(positions), self._dt_s)
        return JointTrajectory(joint_names=list(self.joints), points=[point])


def _point(positions, velocities, time_from_start_s: float) -> JointTrajectoryPoint:
    nanoseconds = round(time_from_start_s * _NS)
    return JointTrajectoryPoint(
        positions=[float(value) for value in positions],
        velocities=[float(value) for value in velocities],
        time_from_start=Duration(sec=nanoseconds // _NS, nanosec=nanoseconds % _NS),
    )


def central_velocities(rows, previous, dt_s: float):
    """Central differences ``(K, J)`` of rows ``(K, J)``; zero at the end, and at the start without ``previous``."""
    before = rows[:1] if previous is None else previous[None]
    padded = np.concatenate([before, rows])
    velocities = np.zeros_like(rows)
    if len(rows) > 1:
        velocities[:-1] = (padded[2:] - padded[:-2]) / (2.0 * dt_s)
        if previous is None:
            velocities[0] = 0.0
    return velocities
