# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.execution.gate.urdf import MAX_BYTES, JointLimits, read_joint_limits

LIMIT = '<limit lower="-1.5" upper="2.5" effort="9" velocity="3.0"/>'


def robot(*joints: str) -> str:
    return f'<?xml version="1.0"?><robot name="r"><link name="base"/>{"".join(joints)}</robot>'


def joint(name: str = "shoulder", kind: str = "revolute", inside: str = LIMIT) -> str:
    return f'<joint name="{name}" type="{kind}"><parent link="base"/><child link="{name}_link"/>{inside}</joint>'


def limits(description: str, name: str = "shoulder") -> JointLimits:
    return read_joint_limits(description, [name])[name]


def test_limits_of_the_asked_joints_are_read() -> None:
    description = robot(joint(), joint("gripper", "prismatic", '<limit lower="0" upper="0.08" velocity="0.1"/>'))
    assert read_joint_limits(description, ["gripper", "shoulder"]) == {
        "gripper": JointLimits(0.0, 0.08, 0.1),
        "shoulder": JointLimits(-1.5, 2.5, 3.0),
    }


def test_acceleration_deceleration_and_jerk_are_read_where_they_are() -> None:
    inside = '<limit lower="-1" upper="1" velocity="3" acceleration="20" deceleration="15" jerk="100"/>'
    assert limits(robot(joint(inside=inside))) == JointLimits(-1.0, 1.0, 3.0, 15.0, 100.0)


def test_soft_limits_count_where_they_are_tighter() -> None:
    inside = LIMIT + '<safety_controller k_velocity="1" soft_lower_limit="-1.0" soft_upper_limit="9.0"/>'
    assert limits(robot(joint(inside=inside))) == JointLimits(-1.0, 2.5, 3.0)


@pytest.mark.parametrize("inside", ["", '<limit effort="1" velocity="2.0"/>'])
def test_a_continuous_joint_has_no_position_limits(inside: str) -> None:
    found = limits(robot(joint(kind="continuous", inside=inside)))
    assert (found.lower, found.upper) == (-math.inf, math.inf)
    assert found.velocity == (2.0 if inside else math.inf)


def test_a_commanded_joint_that_is_missing_is_named_with_the_closest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no joint 'sholder', did you mean 'shoulder'|no joint 'sholder'; did"
    ):
        limits(robot(joint()), "sholder")


def test_joints_of_other_robots_parts_need_no_limits() -> None:
    assert limits(robot(joint(), joint("mount", "fixed", ""), joint("broken", inside=""))).velocity == 3.0


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "cannot be read"),
        ("<robot>", "cannot be read"),
        ("<sdf/>", "expected the element <robot>, got <sdf>"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot/>', "DOCTYPE or ENTITY"),
        ("<robot>" + " " * MAX_BYTES + "</robot>", "at most"),
        (robot(joint(kind="fixed")), "joint 'shoulder' is 'fixed', expected revolute"),
        (robot(joint(inside="")), "has no <limit>"),
        (robot(joint(inside='<limit lower="1" upper="1" velocity="2"/>')), "expected lower < upper, got 1 and 1"),
        (robot(joint(inside='<limit velocity="2"/>')), "expected lower < upper, got 0 and 0"),
        (robot(joint(inside='<limit lower="-1" upper="1" velocity="0"/>')), "velocity above 0, got 0"),
        (robot(joint(inside='<limit lower="-1" upper="nan" velocity="2"/>')), "a number for upper, got 'nan'"),
        (robot(joint(inside='<limit lower="-1" upper="$(arg x)" velocity="2"/>')), "a number for upper"),
    ],
)
def test_what_is_no_limit_is_refused_naming_the_joint(description: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(").replace("$", r"\$")):
        limits(description)
