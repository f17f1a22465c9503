# SPDX-License-Identifier: Apache-2.0
"""What a hold looks like from outside."""

from __future__ import annotations

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus

from policy_ros.msg import PolicyStatus

from .checkpoints import CAMERA
from .robot import FakeRobot
from .waiting import stays, wait_for

JOINT_MAX_AGE_S, CAMERA_MAX_AGE_S, TAIL_S = 0.4, 0.5, 0.3  # of the tests' configuration
# For tests that expect no hold at all: what delays a busy machine is no fault.
PATIENT = {"joints.max_age_s": 5.0, f"cameras.{CAMERA}.max_age_s": 5.0, "observation.max_skew_s": 2.0}
RAMP_S = 0.1  # gate.ramp_down_s
RAMP_COMMANDS = 5  # at 50 Hz: rows that brake, and the command to stay
DDS_SLACK_S = 0.3  # transport and scheduling
BUSY_SLACK_S = 3.0  # the same beside whatever else this machine does


def wait_until_commanding(robot: FakeRobot) -> None:
    """The node runs and commands."""
    wait_for(lambda: robot.statuses and robot.status.state == PolicyStatus.RUNNING, 15.0, "status RUNNING")
    seen = len(robot.commands)
    wait_for(lambda: len(robot.commands) > seen + 5, 5.0, "commands")


def assert_holds(robot: FakeRobot, cause: str, *, since: float, bound_s: float) -> None:
    """A hold of this cause within the bound: the arm brakes, and the last command is short and where it came to rest.

    Args:
        cause: name of the cause in the status.
        since: when the fault began (monotonic).
        bound_s: T of the promise, without slack.
    """
    wait_for(lambda: robot.status.state == PolicyStatus.HOLDING, bound_s + 5.0, f"a hold for {cause}")
    assert robot.status.hold_cause == cause
    count = len(robot.commands)
    stays(lambda: len(robot.commands) <= count + RAMP_COMMANDS, 0.5, "commands after the hold")
    last = robot.commands[-1]
    # By its own stamps the node is on time however busy the machine is; the command to stay carries none.
    fault_s = time.time() - (time.monotonic() - since)
    assert max(command.stamp_s for command in robot.commands) - fault_s <= bound_s + RAMP_S + DDS_SLACK_S
    assert last.time_s - since <= bound_s + RAMP_S + BUSY_SLACK_S
    assert len(last.message.points) == 1 and not any(last.message.points[0].velocities), "one short command, at rest"
    # The hold repeats the row before it; where the chunk ended first, its last row is the place to stay.
    assert np.allclose(last.positions, robot.commands[-2].positions, atol=0.05), "where the robot was last commanded"
    wait_for(lambda: _level(robot, "policy: execution") == DiagnosticStatus.ERROR, 3.0, "diagnostics ERROR")


def assert_stays_held(robot: FakeRobot, duration_s: float) -> None:
    """No command for a while, although whatever caused the hold may be over."""
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, duration_s, "a command in spite of a latched hold")


def now() -> float:
    return time.monotonic()


def _level(robot: FakeRobot, name: str) -> bytes | None:
    return robot.diagnostics[name].level if name in robot.diagnostics else None
