# SPDX-License-Identifier: Apache-2.0
"""Another policy takes over while the robot moves; what cannot leaves the running one alone."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String
from support.checkpoints import CAMERA, retype, write_act, write_flow, write_vqbet
from support.holding import PATIENT, wait_until_commanding
from support.robot import FakeRobot
from support.waiting import stays, wait_for

from policy_ros.msg import PolicyStatus

LIMITS = {"gate.max_velocity": [1.0] * 3, "gate.max_acceleration": [8.0] * 3}
RATE_HZ, ROWS = 20.0, 40  # chunks of two seconds: a busy machine is no reason to wait for one
PERIOD_S = 1.0 / RATE_HZ
CALM = {**PATIENT, "execution.rate_hz": RATE_HZ, "execution.lookahead_steps": 100}
SWAP_S = 20.0


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policies to swap between, and some that cannot be."""
    folder = tmp_path_factory.mktemp("shelf")
    write_act(folder / "act", chunk_size=ROWS)
    write_flow(folder / "flow", chunk_size=ROWS - 10)
    write_vqbet(folder / "history", chunk_size=ROWS)
    write_flow(folder / "side", camera="side", chunk_size=ROWS)
    write_act(folder / "two_joints", joints=2)
    retype(folder / "act", folder / "unknown", "nonesuch")
    shutil.copytree(folder / "act", folder / "truncated")
    with (folder / "truncated" / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    (folder / "pickled").mkdir()
    shutil.copy(folder / "act" / "config.json", folder / "pickled")
    (folder / "pickled" / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))
    (folder / "disguised").mkdir()
    shutil.copy(folder / "act" / "config.json", folder / "disguised")
    (folder / "disguised" / "model.safetensors").write_bytes(pickle.dumps({"weights": 1}))
    shutil.copytree(folder / "act", folder / "no_json")
    (folder / "no_json" / "config.json").write_text("{")
    shutil.copytree(folder / "act", folder / "other_weights")
    config = json.loads((folder / "act" / "config.json").read_text())
    (folder / "other_weights" / "config.json").write_text(json.dumps({**config, "dim_model": 64}))
    return folder


def await_swap(robot: FakeRobot, node, path: Path) -> None:
    wait_for(
        lambda: robot.status.policy_path == str(path) and robot.status.swap_phase == "idle",
        SWAP_S,
        lambda: f"{path} to take over, it is {robot.status.swap_phase}\n{node.log}",
    )


def assert_within_the_gates_limits(robot: FakeRobot, first: int) -> None:
    """Every published row against the one before it, by the numbers that were published."""
    rows = [command.positions for command in robot.commands[first:]]
    velocities = [[(b - a) / PERIOD_S for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(rows)]
    assert max(abs(value) for row in velocities for value in row) <= 1.0 + 1e-6
    changes = [
        abs(b - a) / PERIOD_S
        for before, after in itertools.pairwise(velocities)
        for a, b in zip(before, after, strict=True)
    ]
    assert max(changes) <= 8.0 + 1e-3


def test_act_and_flow_take_over_from_each_other_without_a_pause(start_node, robot: FakeRobot, shelf: Path):
    node = start_node(policy__path=str(shelf / "act"), **CALM, **LIMITS)
    node.bring_up()
    wait_until_commanding(robot)
    first, epoch = len(robot.commands), robot.status.epoch
    for name in ("flow", "act", "flow"):
        assert node.set_parameter("policy.path", str(shelf / name)) == ""
        await_swap(robot, node, shelf / name)
        seen = robot.status.step
        wait_for(lambda seen=seen: robot.status.step > seen + 10, 10.0, f"commands of {name}")
        assert robot.status.policy == name and robot.chunks[-1].policy == name
    assert robot.status.epoch == epoch + 3
    assert (robot.status.holds, robot.status.state) == (0, PolicyStatus.RUNNING)
    assert robot.status.horizon == ROWS - 10
    assert_within_the_gates_limits(robot, first)
    phases = {status.swap_phase for status in robot.statuses}
    assert phases <= {"idle", "loading", "warming", "ready", "taking_over"}
    assert "has taken over" in node.log


def test_a_policy_with_a_history_and_one_with_another_camera_take_over_while_the_robot_moves(
    start_node, robot: FakeRobot, shelf: Path
):
    cameras = {
        "cameras.side.topic": f"camera/{CAMERA}/image_raw",
        "cameras.side.optional": True,
        "cameras.side.max_age_s": 5.0,
        f"cameras.{CAMERA}.optional": True,
    }
    node = start_node(policy__path=str(shelf / "act"), **CALM, **cameras)
    node.bring_up()
    wait_until_commanding(robot)
    assert f"camera/{CAMERA}" in robot.status.streams
    for name, stream in (("history", f"camera/{CAMERA}"), ("side", "camera/side"), ("act", f"camera/{CAMERA}")):
        assert node.set_parameter("policy.path", str(shelf / name)) == ""
        await_swap(robot, node, shelf / name)
        wait_for(lambda stream=stream: robot.status.streams == ["joint_states", stream], 5.0, f"{stream} alone")
        seen = robot.status.step
        wait_for(lambda seen=seen: robot.status.step > seen + 10, 10.0, f"commands of {name}\n{node.log}")
    assert robot.status.holds == 0, node.log


def test_fault_34_a_policy_whose_camera_sends_nothing_is_given_up_and_the_other_goes_on(start_node, robot, shelf):
    changes = {f"cameras.{CAMERA}.optional": True, "observation.activation_timeout_s": 1.0}
    node = start_node(policy__path=str(shelf / "act"), **CALM, **changes)
    node.bring_up()
    wait_until_commanding(robot)
    epoch = robot.status.epoch
    assert node.set_parameter("policy.path", str(shelf / "side")) == ""
    wait_for(lambda: robot.status.swap_phase == "failed", SWAP_S, f"the failure\n{node.log}")
    assert "camera/side" in robot.status.swap_detail
    wait_for(lambda: node.get_parameter("policy.path") == str(shelf / "act"), 5.0, "the parameter to tell what runs")
    assert (robot.status.epoch, robot.status.holds) == (epoch, 0)
    assert robot.status.streams == ["joint_states", f"camera/{CAMERA}"]


AT_ONCE = {
    "missing": ("nothing_here", "expected a checkpoint directory, found nothing"),
    "pickle": ("pickled", "never loaded"),
    "pickle in disguise": ("disguised", "pickle"),
    "outside the roots": ("/tmp", "expected a path inside"),
    "action size": ("two_joints", "expected 2 joints for the checkpoint's 'action', got 3"),
    "truncated weights": ("truncated", "corrupt or truncated"),
    "unknown type": ("unknown", "nonesuch"),
    "no JSON": ("no_json", "expected JSON"),
    "other camera": ("side", "the policy has no feature 'observation.images.front'"),
}


@pytest.fixture
def running(start_node, robot: FakeRobot, shelf: Path):
    """A node that commands with ACT; the camera is configured, so that a policy without it does not fit."""
    roots = {"policy.roots": [str(shelf)], f"cameras.{CAMERA}.topic": f"camera/{CAMERA}/image_raw"}
    node = start_node(policy__path=str(shelf / "act"), **CALM, **roots)
    node.bring_up()
    wait_until_commanding(robot)
    return node


def test_fault_34_what_cannot_run_is_refused_at_once_and_the_running_policy_never_pauses(
    running, robot: FakeRobot, shelf: Path
):
    epoch, first = robot.status.epoch, len(robot.statuses)
    for name, (path, expected) in AT_ONCE.items():
        reason = running.set_parameter("policy.path", str(shelf / path))
        assert expected in reason, f"{name}: {reason}"
        assert running.get_parameter("policy.path") == str(shelf / "act")
    assert "expected 'flow'" in running.set_parameter("policy.type", "flow")
    seen = robot.status.step
    wait_for(lambda: robot.status.step > seen + 10, 10.0, "commands")
    assert {status.swap_phase for status in robot.statuses[first:]} == {"idle"}
    assert (robot.status.epoch, robot.status.holds, robot.status.policy) == (epoch, 0, "act")
    assert {status.state for status in robot.statuses[first:]} == {PolicyStatus.RUNNING}


def test_fault_34_what_fails_while_loading_is_told_everywhere_and_the_parameter_says_what_runs(running, robot, shelf):
    epoch, first = robot.status.epoch, len(robot.statuses)
    assert running.set_parameter("policy.path", str(shelf / "other_weights")) == "", "only loading finds it"
    wait_for(lambda: robot.status.swap_phase == "failed", SWAP_S, f"the failure\n{running.log}")
    assert "does not fit config.json" in robot.status.swap_detail
    wait_for(lambda: running.get_parameter("policy.path") == str(shelf / "act"), 5.0, "the parameter")
    wait_for(lambda: "does not fit config.json" in robot.diagnostic("policy: policy"), 5.0, "the diagnostic")
    assert robot.diagnostics["policy: policy"].level == DiagnosticStatus.WARN
    assert "swap failed" in running.log
    assert (robot.status.epoch, robot.status.holds, robot.status.policy) == (epoch, 0, "act")
    assert {status.state for status in robot.statuses[first:]} == {PolicyStatus.RUNNING}
    assert running.set_parameter("policy.path", str(shelf / "flow")) == ""
    await_swap(robot, running, shelf / "flow")
    wait_for(lambda: robot.diagnostics["policy: policy"].level == DiagnosticStatus.OK, 5.0, "the diagnostic to clear")


def test_of_two_requests_the_newer_wins(running, robot: FakeRobot, shelf: Path):
    epoch = robot.status.epoch
    for name in ("flow", "history", "flow", "history"):
        assert running.set_parameter("policy.path", str(shelf / name)) == ""
    await_swap(robot, running, shelf / "history")
    seen = robot.status.step
    wait_for(lambda: robot.status.step > seen + 10, 10.0, "commands")
    assert robot.status.policy_path == running.get_parameter("policy.path") == str(shelf / "history")
    assert robot.status.holds == 0 and robot.status.epoch > epoch, running.log


def test_deactivating_and_cleaning_up_while_a_policy_loads_is_orderly(running, robot: FakeRobot, shelf: Path):
    assert running.set_parameter("policy.path", str(shelf / "flow")) == ""
    assert running.transition("deactivate")
    assert running.transition("activate"), "waits for the load"
    assert running.get_parameter("policy.path") == str(shelf / "flow")
    await_swap(robot, running, shelf / "flow")
    wait_until_commanding(robot)
    assert running.set_parameter("policy.path", str(shelf / "act")) == ""
    assert running.transition("deactivate") and running.transition("cleanup")
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 0.5, "a command after cleanup")
    running.bring_up()
    wait_for(
        lambda: robot.status.policy == "act" and robot.status.swap_phase == "idle", 10.0, "act, as it was asked for"
    )
    assert "Traceback" not in running.log


def test_on_an_inactive_node_the_other_policy_is_there_when_it_is_activated(start_node, robot, shelf):
    node = start_node(policy__path=str(shelf / "act"), **CALM)
    assert node.transition("configure")
    assert node.set_parameter("policy.path", str(shelf / "flow")) == ""
    assert node.transition("activate")
    wait_until_commanding(robot)
    assert robot.chunks[0].policy == "flow" and robot.status.policy == "flow"


def test_a_mode_that_the_next_policy_cannot_do_is_refused_with_the_policy(start_node, robot, shelf):
    node = start_node(policy__path=str(shelf / "flow"), execution__mode="rtc", **CALM)
    node.bring_up()
    wait_until_commanding(robot)
    assert "expected a policy that can be guided" in node.set_parameter("policy.path", str(shelf / "act"))
    assert node.set_parameter("rtc.fallback", "blend") == ""
    assert node.set_parameter("policy.path", str(shelf / "act")) == ""
    await_swap(robot, node, shelf / "act")
    wait_for(lambda: robot.status.active_mode == "blend", 10.0, "the stand-in")
    assert robot.status.holds == 0, node.log


def test_another_task_begins_an_epoch_only_where_that_is_wanted(running, robot: FakeRobot):
    epoch = robot.status.epoch
    assert running.set_parameter("policy.prompt", "open the drawer") == ""
    wait_for(lambda: robot.status.task == "open the drawer", 5.0, "the task")
    seen = robot.status.step
    wait_for(lambda: robot.status.step > seen + 10, 10.0, "commands")
    assert robot.status.epoch == epoch
    assert running.set_parameter("policy.prompt_starts_epoch", True) == ""
    prompts = robot.node.create_publisher(String, "policy/prompt", 1)
    wait_for(lambda: prompts.get_subscription_count() > 0, 10.0, "the node to listen")
    prompts.publish(String(data="close the drawer"))
    wait_for(lambda: robot.status.epoch == epoch + 1, 10.0, f"a new epoch\n{running.log}")
    assert robot.status.task == "close the drawer"
    seen = robot.status.step
    wait_for(lambda: robot.status.step > seen + 10, 10.0, "commands")
    assert (robot.status.holds, robot.status.state) == (0, PolicyStatus.RUNNING)
    assert running.set_parameter("policy.prompt", "open the drawer") == "", "the parameter had this value already"
    wait_for(lambda: robot.status.task == "open the drawer" and robot.status.epoch == epoch + 2, 10.0, "the task again")
