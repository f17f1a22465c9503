# SPDX-License-Identifier: Apache-2.0
"""Fault row 9: what the gate lets through, seen on the command topics of the running node."""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import pytest
from support.checkpoints import JOINTS
from support.faulty_node import LEAP_RAD
from support.holding import assert_holds, assert_stays_held, now, wait_until_commanding
from support.process import NodeProcess
from support.robot import FakeRobot
from support.waiting import stays, wait_for

from policy_ros.msg import PolicyStatus

DT = 0.02
SPEED, ACCELERATION = 0.5, 4.0
ARRAY = {"outputs__arm__type": "position_array", "outputs__arm__topic": "arm/commands"}


def every_joint(value: float) -> list[float]:
    return [value] * len(JOINTS)


def wait_for_cruising(robot: FakeRobot) -> None:
    """The first joint is on its way to a far target, at the largest speed."""
    wait_for(lambda: robot.arrays and robot.arrays[-1].positions[0] > 0.2, 15.0, "the arm on its way")


def test_fault_09_speed_and_acceleration_of_every_point_are_limited(robot, start_faulty_node, fault):
    start_faulty_node(
        gate__max_velocity=every_joint(SPEED), gate__max_acceleration=every_joint(ACCELERATION)
    ).bring_up()
    wait_until_commanding(robot)
    seen = len(robot.commands)
    fault.set("leap")
    wait_for(lambda: robot.commands[-1].positions[0] > 0.3, 15.0, "the arm on its way")
    for command in robot.commands[seen:]:
        places = np.array([point.positions for point in command.message.points])
        velocity = np.diff(places, axis=0) / DT
        assert np.abs(velocity).max(initial=0.0) <= SPEED + 1e-6
        assert np.abs(np.diff(velocity, axis=0)).max(initial=0.0) <= (ACCELERATION + 1e-3) * DT
    wait_for(lambda: robot.status.gate_clamped > 0, 5.0, "the count")
    assert robot.status.holds == 0
    wait_for(
        lambda: "the gate limits commands: shoulder" in robot.diagnostic("policy: execution"),
        5.0,
        lambda: f"the joint's name in diagnostics, got {robot.diagnostic('policy: execution')}",
    )


def test_fault_09_speed_is_limited_on_a_position_array(robot, start_faulty_node, fault):
    start_faulty_node(**ARRAY, gate__max_velocity=every_joint(SPEED)).bring_up()
    wait_for(lambda: len(robot.arrays) > 5, 15.0, "commands")
    fault.set("leap")
    wait_for_cruising(robot)
    steps = np.abs(np.diff([command.positions[0] for command in robot.arrays]))
    assert np.median(steps[-10:]) == pytest.approx(SPEED * DT, rel=1e-3)
    assert steps.max() <= 3.0 * SPEED * DT + 1e-6, "one row, or three where DDS lost two: never the leap"


def test_fault_09_a_jump_holds_until_a_reset(robot, start_faulty_node, fault):
    node = start_faulty_node(gate__max_jump=every_joint(0.5))
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("leap")
    assert_holds(robot, "JUMP", since=now(), bound_s=1.0)
    assert "shoulder: expected at most 0.5 from the measured position" in robot.diagnostic("policy: execution")
    assert all(abs(position) < 0.5 for command in robot.commands for position in command.positions)
    fault.set("")
    assert_stays_held(robot, 1.0)
    assert node.reset().success
    wait_until_commanding(robot)


def two_outputs(**changes: object) -> dict[str, object]:
    """The first joint on a trajectory, the others on an array."""
    return {
        "outputs__arm__joints": list(JOINTS[:1]),
        "outputs__hand__type": "position_array",
        "outputs__hand__topic": "arm/commands",
        "outputs__hand__joints": list(JOINTS[1:]),
        "gate__max_velocity": [SPEED, *every_joint(5.0)[1:]],
        **changes,
    }


def test_fault_09_an_output_that_rejects_holds_until_a_reset(robot, start_faulty_node, fault):
    node = start_faulty_node(**two_outputs(outputs__arm__on_violation="reject", gate__max_velocity=every_joint(5.0)))
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("leap")
    wait_for(lambda: robot.status.hold_cause == "LIMIT", 10.0, "the hold")
    rejected = dict(zip(robot.status.outputs, robot.status.output_rejected, strict=True))
    assert rejected["arm"] > 0 and rejected["hand"] == 0
    assert all(abs(position) < LEAP_RAD / 2 for command in robot.commands for position in command.positions)
    fault.set("")
    commands, arrays = len(robot.commands), len(robot.arrays)
    wait_for(lambda: robot.status.state == PolicyStatus.HOLDING, 5.0, "the hold in the status")
    stays(lambda: len(robot.commands) <= commands + 5 and len(robot.arrays) <= arrays + 5, 1.0, "more than the ramp")
    assert node.reset().success
    wait_until_commanding(robot)


def test_fault_09_an_output_that_rejects_leaves_clamping_to_the_others(robot, start_faulty_node, fault):
    start_faulty_node(**two_outputs(outputs__hand__on_violation="reject")).bring_up()
    wait_until_commanding(robot)
    fault.set("leap")
    wait_for(lambda: robot.commands[-1].positions[0] > 0.2, 15.0, "the arm on its way, at limited speed")
    wait_for(lambda: sum(robot.status.output_clamped) > 0, 5.0, "the count")
    clamped = dict(zip(robot.status.outputs, robot.status.output_clamped, strict=True))
    assert clamped["arm"] > 0 and clamped["hand"] == 0
    assert robot.status.holds == 0


def silence_joints(robot: FakeRobot, node: NodeProcess) -> None:
    robot.script.joints = False
    wait_for(lambda: robot.status.state == PolicyStatus.HOLDING, 5.0, "the hold")


def deactivate(robot: FakeRobot, node: NodeProcess) -> None:
    assert node.transition("deactivate")
    count = len(robot.arrays)
    stays(lambda: len(robot.arrays) <= count + 1, 0.3, "a command after deactivation has returned")


def terminate(robot: FakeRobot, node: NodeProcess) -> None:
    node.signal(signal.SIGTERM)
    assert node.process.returncode == 0, node.log


@pytest.mark.parametrize("end", [silence_joints, deactivate, terminate])
def test_fault_09_whatever_ends_the_motion_it_brakes_and_then_stays(
    robot, start_faulty_node, fault, end: Callable[[FakeRobot, NodeProcess], None]
):
    node = start_faulty_node(**ARRAY, gate__max_velocity=every_joint(SPEED), gate__ramp_down_s=0.2)
    node.bring_up()
    fault.set("leap")
    wait_for_cruising(robot)
    end(robot, node)
    stays(lambda: True, 0.5, "time for what is on its way")
    places = np.array([command.positions[0] for command in robot.arrays])
    assert places[-1] < LEAP_RAD - 0.1, "it was on its way"
    steps = np.diff(places)[-11:] / (SPEED * DT)
    assert steps[-1] == pytest.approx(0.0, abs=1e-9), "the command to stay where it came to rest"
    assert np.sum((steps > 0.05) & (steps < 0.95)) >= 5, f"rows that brake, got steps {steps.round(2)}"


def test_fault_09_without_a_ramp_the_robot_is_told_to_stay_at_once(robot, start_faulty_node, fault):
    node = start_faulty_node(**ARRAY, gate__max_velocity=every_joint(SPEED), gate__ramp_down_s=0.0)
    node.bring_up()
    fault.set("leap")
    wait_for_cruising(robot)
    deactivate(robot, node)
    steps = np.diff([command.positions[0] for command in robot.arrays])[-4:] / (SPEED * DT)
    assert steps[-1] == pytest.approx(0.0, abs=1e-9)
    assert np.all(steps[:-1] > 0.95)
