# SPDX-License-Identifier: Apache-2.0
"""The node does what it is for: configured and activated, it commands the robot from its policy."""

from __future__ import annotations

import math

from support.checkpoints import JOINTS
from support.holding import PATIENT
from support.waiting import stays, wait_for

from policy_ros.msg import PolicyStatus


def test_an_active_node_commands_all_joints_on_every_tick(robot, start_node):
    node = start_node(**PATIENT)
    node.bring_up()
    wait_for(lambda: len(robot.commands) > 50, 10.0, "commands")
    newest = robot.commands[-1].message
    assert tuple(newest.joint_names) == JOINTS
    assert all(math.isfinite(value) for point in newest.points for value in point.positions)
    times = [point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in newest.points]
    assert times == sorted(set(times)), "time_from_start has to increase strictly"
    assert list(newest.points[-1].velocities) == [0.0, 0.0, 0.0], "the last point has to be at rest"
    assert newest.header.stamp.sec > 0
    wait_for(lambda: robot.statuses and robot.status.state == PolicyStatus.RUNNING, 5.0, "status RUNNING")
    wait_for(lambda: robot.status.chunks >= 2, 5.0, "a second chunk")
    chunk = robot.chunks[-1]
    assert list(chunk.joint_names) == list(JOINTS)
    assert len(chunk.actions) == chunk.horizon * len(JOINTS)
    assert set(chunk.observation_streams) == {"joint_states", "camera/front"}
    assert robot.status.holds == 0


def test_an_inactive_node_publishes_no_command(robot, start_node):
    node = start_node()
    assert node.transition("configure")
    stays(lambda: not robot.commands, 1.0, "a command before activation")


def test_a_dry_run_publishes_chunks_but_no_command_topic(robot, start_node):
    node = start_node(enable_commands=False)
    node.bring_up()
    wait_for(lambda: len(robot.chunks) > 2, 10.0, "chunks")
    assert robot.node.count_publishers("arm/joint_trajectory") == 0
    assert not robot.commands


def test_autostart_brings_the_node_up_by_itself(robot, start_node):
    start_node(autostart=True)
    wait_for(lambda: len(robot.commands) > 5, 15.0, "commands")


def test_sync_mode_executes_the_chunk_and_waits_for_the_next(robot, start_node):
    node = start_node(execution__mode="sync", **PATIENT)
    node.bring_up()
    wait_for(lambda: len(robot.chunks) > 3, 20.0, "chunks")
    assert all(chunk.delay == 0 for chunk in robot.chunks)
    assert robot.status.holds == 0


def test_position_array_output_sends_one_action_per_tick(robot, start_node):
    node = start_node(outputs__arm__type="position_array", outputs__arm__topic="arm/commands")
    node.bring_up()
    wait_for(lambda: len(robot.arrays) > 50, 10.0, "commands")
    assert all(len(command.message.data) == len(JOINTS) for command in robot.arrays)


def test_several_outputs_each_command_their_own_joints(robot, start_node):
    node = start_node(
        outputs__arm__joints=["wrist", "shoulder"],
        outputs__tool__type="position_array",
        outputs__tool__topic="arm/commands",
        outputs__tool__joints=["elbow"],
    )
    node.bring_up()
    wait_for(lambda: len(robot.commands) > 20 and len(robot.arrays) > 20, 10.0, "commands on both topics")
    assert list(robot.commands[-1].message.joint_names) == ["wrist", "shoulder"]
    assert len(robot.arrays[-1].message.data) == 1


def test_an_integer_is_taken_for_a_double_parameter(start_node):
    node = start_node(execution__rate_hz=30)
    assert node.transition("configure"), node.log
    assert node.get_parameter("execution.rate_hz") == 30.0
