# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from policy_ros.execution.gate.urdf import read_joint_limits
from policy_ros.simulation.description import urdf
from policy_ros.simulation.kinematics import JOINT_NAMES, Arm


def test_the_description_has_the_limits_of_the_arm() -> None:
    arm = Arm()
    limits = read_joint_limits(urdf(arm), JOINT_NAMES)
    assert tuple(limit.lower for limit in limits.values()) == arm.lower_limit
    assert tuple(limit.upper for limit in limits.values()) == arm.upper_limit
    assert tuple(limit.velocity for limit in limits.values()) == arm.max_velocity
    assert tuple(limit.acceleration for limit in limits.values()) == arm.max_acceleration
