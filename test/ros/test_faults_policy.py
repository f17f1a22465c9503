# SPDX-License-Identifier: Apache-2.0
"""Faults of the policy, injected into the running node."""

from __future__ import annotations

import math

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.checkpoints import JOINTS, write_act
from support.holding import (
    BUSY_SLACK_S,
    RAMP_COMMANDS,
    RAMP_S,
    assert_holds,
    assert_stays_held,
    now,
    wait_until_commanding,
)
from support.waiting import stays, wait_for

from policy_ros.msg import PolicyStatus

CHUNK_S = 20 / 50  # the checkpoint's chunk at the default rate: the tail that is committed at most


def test_fault_06_chunks_with_nan_are_discarded_whole_and_end_in_a_latched_hold(robot, start_faulty_node, fault):
    node = start_faulty_node()
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("nan")
    assert_holds(robot, "NON_FINITE_ACTION", since=now(), bound_s=2 * CHUNK_S)
    assert robot.status.chunks_rejected >= 3
    assert all(math.isfinite(v) for c in robot.commands for p in c.message.points for v in p.positions)
    fault.set("")
    assert_stays_held(robot, 1.0)
    assert node.reset().success
    wait_until_commanding(robot)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joints__names": ["shoulder", "elbow"]}, "expected 3 joints for the checkpoint's 'action', got 2"),
        ({"cameras__side__topic": "/side"}, "the policy has no feature 'observation.images.side'"),
        (
            {"outputs__arm__joints": ["shoulder", "elbow", "wirst"]},
            "'wirst' is not one of joints.names; did you mean 'wrist'?",
        ),
        ({"outputs__arm__joints": ["shoulder", "elbow"]}, "no output commands wrist"),
    ],
    ids=["action size", "camera the policy lacks", "wrong joint name", "joint without output"],
)
def test_fault_08_what_does_not_fit_the_policy_is_refused_and_can_be_mended(start_node, changes, expected):
    node = start_node(**changes)
    assert not node.transition("configure")
    wait_for(lambda: expected in node.log, 3.0, f"'{expected}'")
    assert node.log.count("Traceback") == 0
    assert node.state == "unconfigured"


def test_fault_08_a_policy_of_another_shape_is_found_by_the_warm_up(start_faulty_node, fault):
    fault.set("shape")
    node = start_faulty_node()
    assert not node.transition("configure")
    wait_for(lambda: "expected a chunk of shape (20, 3) (H, A), got (20, 2)" in node.log, 3.0, "the reason")
    fault.set("")
    assert node.transition("configure")


def test_fault_10_a_late_chunk_stops_the_robot_before_it_runs_past_the_end(robot, start_faulty_node, fault):
    start_faulty_node(execution__execution_horizon=15).bring_up()
    wait_until_commanding(robot)
    fault.set("slow")
    wait_for(lambda: robot.status.holds > 0, 5.0, "a hold while the chunk is late")
    assert all(
        c.message.points[-1].velocities == type(c.message.points[-1].velocities)("d", [0.0] * 3) for c in robot.commands
    )
    fault.set("")
    wait_until_commanding(robot)
    assert robot.status.hold_cause == ""


def test_fault_11_a_policy_that_raises_holds_after_bounded_retries_and_the_node_deactivates(
    robot, start_faulty_node, fault
):
    node = start_faulty_node()
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("raise")
    since = now()
    wait_for(lambda: robot.status.hold_cause == "POLICY_FAILED", 5.0, "a hold for the failing policy")
    assert robot.status.inference_errors == 3
    wait_for(lambda: node.state == "inactive", 5.0, f"the node deactivating itself\n{node.log}")
    assert robot.commands[-1].time_s - since <= 2 * CHUNK_S + RAMP_S + BUSY_SLACK_S
    wait_for(lambda: "out of memory" in robot.diagnostic("policy: node"), 5.0, "the reason in the diagnostics")
    assert robot.diagnostics["policy: node"].level == DiagnosticStatus.ERROR
    assert "mend the cause and activate again" in node.log
    fault.set("")
    assert_stays_held(robot, 0.5)
    assert node.transition("activate")
    wait_until_commanding(robot)
    wait_for(lambda: "deactivated" not in robot.diagnostic("policy: node"), 5.0, "the reason to go")


PERIOD_S = 0.02


def test_fault_09_a_robot_that_was_pushed_away_holds_until_reset(robot, start_node):
    node = start_node(gate__max_jump=[0.3] * 3)
    node.bring_up()
    wait_until_commanding(robot)
    since = now()
    robot.script.positions = dict.fromkeys(JOINTS, 1.0)  # pushed away; the policy stays around zero
    assert_holds(robot, "JUMP", since=since, bound_s=0.2)
    assert JOINTS[0] in robot.diagnostic("policy: execution")
    robot.script.positions = dict.fromkeys(JOINTS, 0.0)
    assert_stays_held(robot, 0.5)
    assert node.reset().success
    wait_until_commanding(robot)


def _command_at(robot, chunk):
    """The command of the tick on which a chunk took over, told by their stamps, or None while it is under way."""
    due_s = chunk.header.stamp.sec + chunk.header.stamp.nanosec * 1e-9 + chunk.delay * PERIOD_S
    found = [command for command in robot.commands if abs(command.stamp_s - PERIOD_S - due_s) < PERIOD_S / 100]
    return found[0] if found else None


def test_fault_10_a_late_chunk_goes_on_at_the_row_that_is_due(robot, start_faulty_node, fault):
    """0.4 s late is 20 steps, the whole chunk but what was left: the rows that passed are not made up for."""
    start_faulty_node(execution__execution_horizon=4).bring_up()
    wait_until_commanding(robot)
    fault.set("slow")
    wait_for(lambda: robot.chunks and robot.chunks[-1].delay >= 10, 10.0, "a chunk that is late")
    late = robot.chunks[-1]
    assert late.delay <= late.horizon - late.execution_horizon, "no more than there were rows to consume"
    wait_for(lambda: _command_at(robot, late) is not None, 5.0, "the command of its first tick")
    rows = np.reshape(late.actions, (late.horizon, len(JOINTS)))
    assert np.allclose(_command_at(robot, late).positions, rows[late.delay], atol=1e-6), "merged by its delay"
    wait_for(lambda: robot.status.degradation != "", 5.0, "what the mode was degraded to")
    assert not robot.status.feasible and robot.status.active_mode in ("hold", "overlap")
    fault.set("")
    wait_for(lambda: robot.status.feasible and robot.status.degradation == "", 20.0, "recovery after the spike")


def test_fault_12_a_hanging_inference_holds_and_blocks_configuring_until_it_ends(robot, start_faulty_node, fault):
    node = start_faulty_node(execution__inference_timeout_s=1.5)
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("hang")
    wait_for(lambda: robot.status.hold_cause == "INFERENCE_TIMEOUT", 5.0, "a hold for the hanging inference")
    count = len(robot.commands)
    stays(lambda: len(robot.commands) <= count + RAMP_COMMANDS, 0.5, "commands beside a hanging inference")
    assert node.transition("deactivate", timeout_s=10.0), "deactivation is bounded"
    assert node.transition("cleanup")
    assert not node.transition("configure")
    wait_for(lambda: "still runs and cannot be ended" in node.log, 2.0, "the reason")
    fault.set("")
    wait_for(lambda: node.transition("configure"), 5.0, "configuring once the inference has ended")


def test_fault_32_nothing_is_published_after_deactivate_returns(robot, start_faulty_node, fault):
    node = start_faulty_node()
    node.bring_up()
    wait_until_commanding(robot)
    fault.set("slow")
    wait_for(lambda: robot.status.holds > 0 or robot.status.delay > 3, 5.0, "slow inferences")
    assert node.transition("deactivate")
    wait_for(lambda: len(robot.commands[-1].message.points) == 1, 1.0, "the hold command, which is the last one")
    commands, chunks = len(robot.commands), len(robot.chunks)
    stays(lambda: (len(robot.commands), len(robot.chunks)) == (commands, chunks), 1.0, "something after deactivate")
    fault.set("")
    assert node.transition("activate")
    wait_until_commanding(robot)


def test_fault_33_a_transition_that_raises_is_logged_and_leaves_the_output_silent(robot, start_faulty_node, fault):
    fault.set("activate")
    node = start_faulty_node()
    assert node.transition("configure")
    assert not node.transition("activate")
    assert "ValueError: a bug in activate" in node.log and "Traceback" in node.log
    assert node.state == "unconfigured"
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 1.0, "a command after a failed transition")
    fault.set("")
    node.bring_up()
    wait_until_commanding(robot)


def test_fault_33_an_impossible_transition_is_refused_and_the_node_lives_on(start_node):
    node = start_node()
    assert not node.transition("activate"), "activating an unconfigured node"
    assert node.state == "unconfigured"
    assert node.transition("configure")


def test_get_state_is_answered_while_the_node_configures(start_faulty_node, fault):
    fault.set("hang")  # the warm-up inference does not return
    node = start_faulty_node()
    future = node.begin_transition("configure")
    wait_for(lambda: node.state == "configuring", 10.0, "the state 'configuring'")
    assert not node.transition("configure"), "a second transition beside the first"
    fault.set("")
    wait_for(future.done, 10.0, "the end of the transition")
    assert future.result().success


def test_status_and_joints_of_another_checkpoint_size_work(robot, start_node, tmp_path):
    checkpoint = write_act(tmp_path / "short", chunk_size=8)
    start_node(policy__path=str(checkpoint)).bring_up()
    wait_until_commanding(robot)
    wait_for(lambda: robot.status.state == PolicyStatus.RUNNING and robot.status.horizon == 8, 5.0, "horizon 8")
    assert len(JOINTS) == len(robot.chunks[-1].joint_names)
