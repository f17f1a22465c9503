# SPDX-License-Identifier: Apache-2.0
"""Command topics: one class for each command type, all behind :class:`~policy_ros.ros.outputs.base.Output`."""

from __future__ import annotations

from policy_ros.ros.outputs.base import Output
from policy_ros.ros.outputs.joint_trajectory import JointTrajectoryOutput
from policy_ros.ros.outputs.position_array import PositionArrayOutput

OUTPUT_TYPES: dict[str, type[Output]] = {
    "joint_trajectory": JointTrajectoryOutput,
    "position_array": PositionArrayOutput,
}
