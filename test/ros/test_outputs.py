# SPDX-License-Identifier: Apache-2.0
"""What the command messages contain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from policy_ros.ros.outputs import JointTrajectoryOutput, PositionArrayOutput
from policy_ros.ros.outputs.joint_trajectory import central_velocities

NAMES = ("a", "b", "c")
STAMP_NS = 5_000_000_000
WINDOW = np.array([[0.0, 1.0, 2.0], [0.1, 1.0, 1.8], [0.3, 1.0, 1.6]])


@pytest.fixture
def node(domain_id: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = Node("outputs", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def output(cls: type, node: Node, joints: tuple[str, ...], lead_s: float = 0.02):
    return cls(node, name="arm", topic="arm/commands", joints=joints, joint_names=NAMES, dt_s=0.02, lead_s=lead_s)


def test_a_trajectory_takes_its_joints_in_its_own_order_and_starts_in_the_future(node):
    message = output(JointTrajectoryOutput, node, ("c", "a"))._message(WINDOW[:, [2, 0]], None, STAMP_NS)
    assert list(message.joint_names) == ["c", "a"]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 20_000_000)
    assert [list(point.positions) for point in message.points] == [[2.0, 0.0], [1.8, 0.1], [1.6, 0.3]]
    assert [point.time_from_start.nanosec for point in message.points] == [0, 20_000_000, 40_000_000]


def test_velocities_pass_through_points_and_end_at_rest():
    previous = np.array([-0.1, 1.0, 2.2])
    velocities = central_velocities(WINDOW, previous, 0.02)
    assert np.allclose(velocities[0], (WINDOW[1] - previous) / 0.04)
    assert np.allclose(velocities[1], (WINDOW[2] - WINDOW[0]) / 0.04)
    assert velocities[2].tolist() == [0.0, 0.0, 0.0]


def test_motion_begins_at_rest_without_a_previous_row():
    assert central_velocities(WINDOW, None, 0.02)[0].tolist() == [0.0, 0.0, 0.0]


def test_a_single_row_is_at_rest():
    assert central_velocities(WINDOW[:1], WINDOW[1], 0.02).tolist() == [[0.0, 0.0, 0.0]]


def test_a_position_array_is_the_row_that_is_due(node):
    message = output(PositionArrayOutput, node, ("b", "c"))._message(WINDOW[:, [1, 2]], None, STAMP_NS)
    assert list(message.data) == [1.0, 2.0]


def test_an_output_picks_the_columns_of_its_joints(node):
    arm = output(PositionArrayOutput, node, ("c", "a"))
    sent = []
    arm._publisher.publish = sent.append
    arm.publish(WINDOW, None, STAMP_NS)
    arm.publish_hold(WINDOW[2])
    assert [list(message.data) for message in sent] == [[2.0, 0.0], [1.6, 0.3]]


def test_other_publishers_of_the_command_topic_are_named_and_the_own_one_is_not(node):
    arm = output(PositionArrayOutput, node, ("a",))
    assert arm.other_publishers() == []
    node.create_publisher(PositionArrayOutput.message_type, "arm/commands", 1)
    assert arm.other_publishers() == ["/outputs"]


def test_a_hold_that_arrives_late_is_still_accepted_by_a_trajectory_controller(node):
    message = output(JointTrajectoryOutput, node, NAMES)._hold_message(WINDOW[0])
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0), "from the moment it arrives"
    assert message.points[0].time_from_start.nanosec == 20_000_000
    assert list(message.points[0].velocities) == [0.0, 0.0, 0.0]
