# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from policy_ros.controllers import (
    CommandRefused,
    JointTrajectoryFollower,
    PositionForwarder,
    RateLimiter,
    Trajectory,
    TrajectoryPoint,
)

S = 1_000_000_000
NOW = 100 * S
JOINTS = ("shoulder", "elbow")


def point(time_s: float, positions, velocities=()) -> TrajectoryPoint:
    return TrajectoryPoint(round(time_s * S), positions, velocities)


def follower(**options) -> JointTrajectoryFollower:
    return JointTrajectoryFollower(JOINTS, np.zeros(2), **options)


def trajectory(*points: TrajectoryPoint, start_ns: int | None = None, names=JOINTS) -> Trajectory:
    return Trajectory(names, points, start_ns)


def position(controller: JointTrajectoryFollower, time_s: float) -> list[float]:
    return controller.sample(NOW + round(time_s * S))[0].tolist()


def velocity(controller: JointTrajectoryFollower, time_s: float) -> list[float]:
    return controller.sample(NOW + round(time_s * S))[1].tolist()


def test_without_a_command_the_position_is_kept():
    assert position(JointTrajectoryFollower(JOINTS, np.array([0.5, -0.5])), 7.0) == [0.5, -0.5]


def test_positions_alone_are_joined_by_straight_lines():
    controller = follower()
    controller.accept(trajectory(point(1.0, [1.0, -2.0]), point(2.0, [1.0, 0.0])), NOW)
    assert position(controller, 0.5) == pytest.approx([0.5, -1.0])
    assert velocity(controller, 0.5) == pytest.approx([1.0, -2.0])
    assert position(controller, 1.5) == pytest.approx([1.0, -1.0])


def test_with_velocities_the_way_is_cubic_and_passes_points_without_stopping():
    controller = follower()
    controller.accept(
        trajectory(point(1.0, [1.0, 0.0], [1.0, 0.0]), point(2.0, [2.0, 0.0], [0.0, 0.0])),
        NOW,
    )
    assert velocity(controller, 1.0)[0] == pytest.approx(1.0)
    assert position(controller, 0.5)[0] == pytest.approx(0.375)  # 2 u^2 - u^3
    before, after = velocity(controller, 0.999)[0], velocity(controller, 1.001)[0]
    assert before == pytest.approx(after, abs=0.01)


def test_last_position_is_kept_at_rest():
    controller = follower()
    controller.accept(trajectory(point(1.0, [1.0, 2.0])), NOW)
    assert position(controller, 9.0) == [1.0, 2.0]
    assert velocity(controller, 9.0) == [0.0, 0.0]


def test_joints_are_matched_by_name():
    controller = follower()
    controller.accept(trajectory(point(1.0, [2.0, 1.0], [0.0, 0.0]), names=("elbow", "shoulder")), NOW)
    assert position(controller, 1.0) == [1.0, 2.0]


def test_stamp_of_zero_starts_at_once():
    controller = follower()
    controller.accept(trajectory(point(0.0, [0.0, 0.0]), point(1.0, [1.0, 1.0]), start_ns=None), NOW)
    assert position(controller, 0.25) == pytest.approx([0.25, 0.25])


def test_old_trajectory_is_followed_until_a_future_one_starts():
    controller = follower()
    controller.accept(trajectory(point(2.0, [2.0, 0.0])), NOW)
    controller.accept(trajectory(point(1.0, [0.0, 0.0]), start_ns=NOW + S), NOW + S // 2)
    assert position(controller, 0.75) == pytest.approx([0.75, 0.0])
    assert position(controller, 1.0) == pytest.approx([1.0, 0.0])
    assert position(controller, 1.5) == pytest.approx([0.5, 0.0])
    assert position(controller, 2.0) == pytest.approx([0.0, 0.0])


def test_old_cubic_is_followed_exactly_until_the_splice():
    old = trajectory(point(1.0, [1.0, 0.0], [2.0, 0.0]), point(2.0, [0.0, 0.0], [0.0, 0.0]))
    controller, undisturbed = follower(), follower()
    controller.accept(old, NOW)
    undisturbed.accept(old, NOW)
    controller.accept(trajectory(point(0.0, [0.3, 0.0], [0.0, 0.0]), start_ns=NOW + 8 * S // 5), NOW + S // 10)
    for time_s in (0.1, 0.4, 0.9, 1.2, 1.5, 1.5999):
        assert position(controller, time_s) == pytest.approx(position(undisturbed, time_s), abs=1e-9)
        assert velocity(controller, time_s) == pytest.approx(velocity(undisturbed, time_s), abs=1e-6)
    assert position(controller, 1.6) == [0.3, 0.0]


def test_chunks_that_overlap_give_a_motion_without_a_stop():
    """One window of points each 20 ms, each ending at rest: the arm still moves on through the seams."""
    controller, dt, speed = follower(), 0.02, 1.0
    speeds = []
    for tick in range(50):
        now_s = tick * dt
        points = []
        for i in range(10):
            moving = speed if i < 9 else 0.0
            points.append(point(i * dt, [speed * (now_s + (i + 1) * dt), 0.0], [moving, 0.0]))
        controller.accept(trajectory(*points, start_ns=NOW + round((now_s + dt) * S)), NOW + round(now_s * S))
        speeds += [velocity(controller, now_s + offset)[0] for offset in (0.0, 0.007, 0.013, 0.019)]
    assert min(speeds[8:]) == pytest.approx(speed, rel=0.02)
    assert max(speeds[8:]) == pytest.approx(speed, rel=0.02)


def test_points_in_the_past_are_skipped_and_joined_from_the_present():
    controller = follower()
    controller.accept(
        trajectory(point(0.5, [9.0, 9.0]), point(2.0, [1.0, 1.0]), start_ns=NOW - S),
        NOW,
    )
    assert position(controller, 0.0) == [0.0, 0.0]
    assert position(controller, 0.5) == pytest.approx([0.5, 0.5])
    assert position(controller, 1.0) == pytest.approx([1.0, 1.0])


def test_trajectory_that_is_over_is_refused_and_the_old_one_goes_on():
    controller = follower()
    controller.accept(trajectory(point(1.0, [1.0, 0.0])), NOW)
    with pytest.raises(CommandRefused, match="ended 0.500 s ago"):
        controller.accept(trajectory(point(0.5, [5.0, 5.0]), start_ns=NOW - S), NOW)
    assert position(controller, 0.5) == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (trajectory(), "at least one point"),
        (trajectory(point(1.0, [1.0, 1.0]), names=("shoulder", "wrist")), "expected joint_names shoulder, elbow"),
        (trajectory(point(1.0, [1.0]), names=("shoulder",)), "expected joint_names"),
        (trajectory(point(1.0, [1.0, 1.0], [0.0, 0.0]), names=("shoulder", "shoulder")), "expected joint_names"),
        (trajectory(point(1.0, [1.0])), "expected 2 values, got 1"),
        (trajectory(point(1.0, [1.0, 1.0], [0.0])), "velocities of point 0: expected 2 values"),
        (trajectory(point(1.0, [1.0, 1.0]), point(1.0, [2.0, 2.0])), "strictly increasing"),
        (trajectory(point(1.0, [math.nan, 1.0])), "finite"),
        (trajectory(point(1.0, [1.0, 1.0], [math.inf, 0.0])), "finite"),
        (trajectory(point(1.0, [1.0, 1.0], [0.0, 0.2])), "velocity zero at the last point, got 0.2 for elbow"),
    ],
)
def test_command_a_controller_would_not_follow_is_refused_and_changes_nothing(bad, message):
    controller = follower()
    controller.accept(trajectory(point(1.0, [0.5, 0.5])), NOW)
    with pytest.raises(CommandRefused, match=message):
        controller.accept(bad, NOW)
    assert position(controller, 1.0) == [0.5, 0.5]


def test_moving_end_is_accepted_when_allowed():
    controller = follower(allow_nonzero_velocity_at_end=True)
    controller.accept(trajectory(point(1.0, [1.0, 1.0], [0.0, 0.2])), NOW)
    assert position(controller, 1.0) == [1.0, 1.0]


def test_reset_forgets_the_trajectory():
    controller = follower()
    controller.accept(trajectory(point(1.0, [1.0, 1.0])), NOW)
    controller.reset(np.array([0.2, 0.3]))
    assert position(controller, 1.0) == [0.2, 0.3]


def test_following_for_long_keeps_no_old_points():
    controller = follower()
    for tick in range(1000):
        points = [point(0.02 * i, [0.0, 0.0], [0.0, 0.0]) for i in range(1, 11)]
        controller.accept(trajectory(*points), NOW + tick * S // 50)
    assert len(controller._knots) < 30


def test_forwarder_hands_the_newest_command_on():
    controller = PositionForwarder(("gripper",), np.array([0.08]))
    assert controller.sample(NOW)[0].tolist() == [0.08]
    controller.accept([0.02])
    assert controller.sample(NOW)[0].tolist() == [0.02]


@pytest.mark.parametrize(("bad", "message"), [([], "expected 1 values, got 0"), ([math.nan], "finite")])
def test_forwarder_refuses_what_does_not_fit(bad, message):
    controller = PositionForwarder(("gripper",), np.array([0.08]))
    with pytest.raises(CommandRefused, match=message):
        controller.accept(bad)
    assert controller.sample(NOW)[0].tolist() == [0.08]


def test_rate_limit_bounds_the_change_of_the_setpoint():
    limiter = RateLimiter(np.array([1.0, np.inf]), np.zeros(2))
    first = limiter.limit(np.array([5.0, 5.0]), 0.1)
    assert first == pytest.approx([0.1, 5.0])
    assert limiter.limit(np.array([5.0, 5.0]), 0.1) == pytest.approx([0.2, 5.0])
    assert limiter.limit(np.array([0.15, 5.0]), 0.1) == pytest.approx([0.15, 5.0])
