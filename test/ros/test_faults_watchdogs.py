# SPDX-License-Identifier: Apache-2.0
"""Faults that only a watchdog sees: pictures that do not change, callbacks that do not run."""

from __future__ import annotations

import itertools
import signal
import threading
from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String
from support.checkpoints import CAMERA
from support.clock import SimulatedClock
from support.holding import BUSY_SLACK_S, PATIENT, RAMP_S, assert_holds, now, wait_until_commanding
from support.process import note_segments
from support.robot import FakeRobot
from support.waiting import stays, wait_for

from policy_ros.ros.clocks import SimulatedPace

STREAM = f"camera/{CAMERA}"
FROZEN_AFTER_S = 0.6


@pytest.fixture
def talk(robot: FakeRobot):
    """Sends the node a prompt."""
    publisher = robot.node.create_publisher(String, "policy/prompt", 1)

    def say(text: str) -> None:
        wait_for(lambda: publisher.get_subscription_count() > 0, 10.0, "the node's subscription")
        publisher.publish(String(data=text))

    return say


def test_fault_02_a_frozen_camera_holds_where_it_is_told_to_and_the_next_new_picture_ends_it(start_node, robot):
    changes = {f"cameras.{CAMERA}.frozen_after_s": FROZEN_AFTER_S, f"cameras.{CAMERA}.on_frozen": "hold"}
    start_node(**changes).bring_up()
    wait_until_commanding(robot)
    robot.script.frozen = True
    assert_holds(robot, "STREAM_FROZEN", since=now(), bound_s=FROZEN_AFTER_S)
    assert list(robot.status.stream_frozen) == [stream == STREAM for stream in robot.status.streams]
    assert robot.status.stream_ages[list(robot.status.streams).index(STREAM)] < 0.5, "its stamps are fresh"
    wait_for(lambda: "is the camera frozen?" in robot.diagnostic(f"policy: {STREAM}"), 5.0, "a diagnostic")
    assert robot.diagnostics[f"policy: {STREAM}"].level == DiagnosticStatus.ERROR
    robot.script.frozen = False
    wait_until_commanding(robot)


def test_fault_02_by_default_a_frozen_camera_is_only_warned_about(start_node, robot):
    start_node(**PATIENT).bring_up()
    wait_until_commanding(robot)
    robot.script.frozen = True
    wait_for(lambda: any(robot.status.stream_frozen), 10.0, "the camera to count as frozen")
    wait_for(lambda: "is the camera frozen?" in robot.diagnostic(f"policy: {STREAM}"), 5.0, "a diagnostic")
    assert robot.diagnostics[f"policy: {STREAM}"].level == DiagnosticStatus.WARN
    wait_until_commanding(robot)
    assert robot.status.holds == 0


@pytest.mark.parametrize("simulated", [False, True], ids=["steady time", "simulated time"])
def test_fault_19_callbacks_that_hang_hold_the_robot_although_the_streams_look_fresh(
    start_faulty_node, robot, fault, talk, simulated
):
    if simulated:  # the clock itself comes through the callbacks
        SimulatedClock(robot)
    node = start_faulty_node(
        use_sim_time=simulated,
        execution__heartbeat_timeout_s=0.5,
        joints__max_age_s=60.0,  # only the heartbeat can notice
        **{f"cameras.{CAMERA}.max_age_s": 60.0},
    )
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("stall")
    since = now()
    talk("hang")
    wait_for(lambda: robot.commands[-1].time_s < now() - 0.5, 10.0, "silence")
    assert robot.commands[-1].time_s - since <= 0.5 + RAMP_S + BUSY_SLACK_S
    assert len(robot.commands[-1].message.points) == 1, "one short command, at rest"
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 0.5, "commands while nobody can intervene")
    fault.set("")
    wait_for(
        lambda: (
            "CALLBACKS_STALLED" in {status.hold_cause for status in robot.statuses}
            or "the node's callbacks do not run" in node.log
        ),
        10.0,
        f"the cause\n{node.log}",
    )
    wait_until_commanding(robot)
    fault.set("stall")
    talk("hang")
    wait_for(lambda: robot.commands[-1].time_s < now() - 0.5, 10.0, "silence")
    note_segments(node.process.pid)  # the hanging thread keeps the participant and its shared memory to the end
    node.signal(signal.SIGTERM)
    assert node.process.returncode == 0, "a node that hangs can still be ended in order"


def test_fault_19_while_callbacks_stall_the_steady_clock_paces_in_place_of_the_simulated_one():
    steady_s, stop = itertools.count(step=0.004), threading.Event()
    standing = SimpleNamespace(now_ns=lambda: 5)
    stalled = SimulatedPace(standing, period_s=0.02, stalled=lambda: True, monotonic_s=lambda: next(steady_s))
    assert [stalled.wait_until(1_000, stop) for _ in range(3)] == [True] * 3
    assert next(steady_s) == pytest.approx(3 * (0.02 + 0.004)), "one period each, and the looks at the clock"

    def give_up() -> bool:
        stop.set()
        return False

    alive = SimulatedPace(standing, period_s=0.02, stalled=give_up, monotonic_s=lambda: next(steady_s))
    assert not alive.wait_until(1_000, stop), "a simulation that is paused is no fault"


def test_fault_19_a_dead_callback_thread_ends_the_process_with_a_hold(start_faulty_node, robot, fault, talk):
    node = start_faulty_node()
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("die")
    count = len(robot.commands)
    talk("die")
    assert node.process.wait(timeout=20.0) == 1
    wait_for(lambda: len(robot.commands[-1].message.points) == 1, 5.0, "the hold, which is the last command")
    assert len(robot.commands) >= count and "the ROS executor died" in node.log
