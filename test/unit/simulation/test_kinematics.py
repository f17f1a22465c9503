# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from policy_ros.simulation.kinematics import Arm, Pose, UnreachableError, radial_pose, wrap


@pytest.mark.parametrize("elbow_left", [True, False])
def test_forward_of_inverse_is_the_asked_pose(elbow_left):
    arm = Arm()
    random = np.random.default_rng(0)
    for _ in range(200):
        azimuth, radius = random.uniform(-1.0, 1.0), random.uniform(0.25, 0.45)
        pose = Pose(radius * math.cos(azimuth), radius * math.sin(azimuth), azimuth + random.uniform(-0.3, 0.3))

        tool = arm.forward(*arm.inverse(pose, elbow_left=elbow_left)).tool

        assert (tool.x, tool.y) == pytest.approx((pose.x, pose.y), abs=1e-9)
        assert wrap(tool.heading - pose.heading) == pytest.approx(0.0, abs=1e-9)


def test_the_two_solutions_bend_the_elbow_to_either_side():
    arm = Arm()
    left = arm.forward(*arm.inverse(radial_pose(0.0, 0.35), elbow_left=True)).elbow
    right = arm.forward(*arm.inverse(radial_pose(0.0, 0.35), elbow_left=False)).elbow
    assert left[1] > 0.0 > right[1]
    assert left == pytest.approx((right[0], -right[1]))


def test_stretched_out_arm_lies_along_x():
    arm = Arm()
    assert arm.forward(0.0, 0.0, 0.0).tool == pytest.approx((arm.upper + arm.fore + arm.hand, 0.0, 0.0))


def test_pose_out_of_reach_is_refused_with_the_distances():
    with pytest.raises(UnreachableError, match=r"expected the wrist 0\.020 to 0\.420 m from the base, got 0\.890 m"):
        Arm().inverse(radial_pose(0.0, 1.0))


def test_pose_beyond_a_joint_limit_is_refused_naming_the_joint():
    with pytest.raises(UnreachableError, match=r"joint3 within -2\.6 to 2\.6 rad"):
        Arm().inverse(Pose(0.3, 0.0, 3.0))


def test_local_and_base_coordinates_are_inverse():
    pose = Pose(0.1, -0.2, 0.7)
    assert pose.to_base(*pose.to_local(0.3, 0.4)) == pytest.approx((0.3, 0.4))
    assert pose.to_base(1.0, 0.0) == pytest.approx((0.1 + math.cos(0.7), -0.2 + math.sin(0.7)))
