# SPDX-License-Identifier: Apache-2.0
"""Faults of the input streams, injected into the running node."""

from __future__ import annotations

import array
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, JointState
from support.checkpoints import CAMERA, JOINTS
from support.holding import (
    CAMERA_MAX_AGE_S,
    JOINT_MAX_AGE_S,
    PATIENT,
    TAIL_S,
    assert_holds,
    now,
    wait_until_commanding,
)
from support.process import note_segments
from support.waiting import stays, wait_for

from policy_ros.msg import PolicyStatus


def test_fault_01_a_stalled_camera_ends_in_a_hold_and_only_fresh_frames_end_it(robot, start_node):
    start_node().bring_up()
    wait_until_commanding(robot)
    epoch, chunks = robot.status.epoch, robot.status.chunks
    robot.script.camera = False
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=CAMERA_MAX_AGE_S + TAIL_S)
    robot.script.camera = True
    wait_until_commanding(robot)
    assert robot.status.epoch > epoch and robot.status.chunks > chunks, "a new plan from fresh frames"


def test_fault_01_no_inference_starts_from_a_stale_camera(robot, start_node):
    start_node(observation__tail_s=4.0).bring_up()
    wait_until_commanding(robot)
    robot.script.camera = False
    # Half a second more for an inference that was under way.
    wait_for(lambda: _age(robot, "camera/front") > CAMERA_MAX_AGE_S + 0.5, 5.0, "a stale camera")
    chunks = robot.status.chunks
    stays(lambda: robot.status.chunks == chunks, 0.5, "a chunk computed from a stale image")


def test_fault_03_stopped_joint_states_hold_at_once(robot, start_node):
    start_node().bring_up()
    wait_until_commanding(robot)
    robot.script.joints = False
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=JOINT_MAX_AGE_S)


def test_fault_04_activation_is_refused_naming_a_joint_that_never_came(robot, start_node):
    robot.script.joint_names = JOINTS[:2]
    node = start_node(observation__activation_timeout_s=3.0)
    assert node.transition("configure")
    assert not node.transition("activate")
    wait_for(lambda: f"joint '{JOINTS[2]}' never came on '/joint_states'" in node.log, 2.0, "the reason")
    assert node.state == "inactive"
    robot.script.joint_names = JOINTS
    assert node.transition("activate"), node.log


def test_fault_04_partial_joint_states_in_any_order_are_merged(robot, start_node):
    robot.script.joint_names = (JOINTS[2], JOINTS[0])
    other = robot.node.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
    message = JointState(name=[JOINTS[1]], position=[0.0])  # stamp 0: the receive time counts
    timer = robot.node.create_timer(0.02, lambda: other.publish(message))
    start_node().bring_up()
    wait_until_commanding(robot)
    assert robot.status.holds == 0
    timer.cancel()


def test_fault_05_a_joint_state_with_nan_is_dropped_and_a_lasting_one_holds(robot, start_node):
    start_node().bring_up()
    wait_until_commanding(robot)
    robot.script.positions = {**robot.script.positions, JOINTS[0]: math.nan}
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=JOINT_MAX_AGE_S)
    assert robot.status.dropped_non_finite > 0
    assert all(math.isfinite(v) for c in robot.commands for p in c.message.points for v in p.positions)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"encoding": "32FC1"}, "32FC1"), ({"corrupt_step": True}, "step")],
    ids=["unknown encoding", "step that does not fit"],
)
def test_fault_07_undecodable_images_are_dropped_with_a_reason_and_never_crash(robot, start_node, change, expected):
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    for name, value in change.items():
        setattr(robot.script, name, value)
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=CAMERA_MAX_AGE_S + TAIL_S)
    assert robot.status.dropped_malformed > 0
    wait_for(lambda: expected in robot.diagnostics["policy: camera/front"].message, 3.0, "diagnostics with the reason")
    wait_for(lambda: "/camera/front/image_raw" in node.log and expected in node.log, 3.0, "a log line naming the topic")
    assert node.process.poll() is None


def test_fault_07_a_corrupt_jpeg_is_dropped_with_a_reason_and_the_next_good_one_is_used(robot, start_node):
    good = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    files = {"sent": good}
    topic = f"/camera/{CAMERA}/image_raw/compressed"
    publisher = robot.node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)

    def publish() -> None:
        message = CompressedImage(format="jpeg", data=array.array("B", files["sent"]))
        message.header.stamp = robot.node.get_clock().now().to_msg()
        publisher.publish(message)

    timer = robot.node.create_timer(0.03, publish)
    node = start_node(**{f"cameras.{CAMERA}.compressed": True})
    node.bring_up()
    wait_until_commanding(robot)
    files["sent"] = good[: len(good) // 2]
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=CAMERA_MAX_AGE_S + TAIL_S)
    assert robot.status.dropped_malformed > 0
    wait_for(lambda: f"'{topic}': sample dropped" in node.log, 3.0, "a log line naming the topic")
    assert "Traceback" not in node.log
    files["sent"] = good
    wait_until_commanding(robot)
    timer.cancel()


def test_fault_22_a_stamp_of_zero_counts_from_its_arrival(robot, start_node):
    robot.script.camera_stamp = lambda now_ns: 0
    start_node(**PATIENT).bring_up()
    wait_until_commanding(robot)
    assert robot.status.holds == 0


def test_fault_22_stamps_from_the_future_are_dropped(robot, start_node):
    start_node().bring_up()
    wait_until_commanding(robot)
    robot.script.camera_stamp = lambda now_ns: now_ns + 10_000_000_000
    assert_holds(robot, "STREAM_EXPIRED", since=now(), bound_s=CAMERA_MAX_AGE_S + TAIL_S)
    assert robot.status.dropped_future > 0


def test_fault_25_two_sources_that_disagree_about_a_joint_hold_until_reset(robot, start_node):
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    intruder = robot.node.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
    since = now()

    def contradict() -> None:
        message = JointState(name=[JOINTS[1]], position=[0.4])
        message.header.stamp = robot.node.get_clock().now().to_msg()
        intruder.publish(message)

    timer = robot.node.create_timer(0.01, contradict)
    assert_holds(robot, "JOINT_CONFLICT", since=since, bound_s=1.0)
    assert JOINTS[1] in robot.diagnostics["policy: execution"].message
    timer.cancel()
    robot.node.destroy_publisher(intruder)
    stays(lambda: robot.status.state == PolicyStatus.HOLDING, 1.0, "the hold is latched")
    assert node.reset().success
    wait_until_commanding(robot)


def test_fault_27_incompatible_qos_is_told_in_plain_words(robot, start_node):
    node = start_node(cameras__front__reliability="reliable", observation__activation_timeout_s=1.5)
    assert node.transition("configure")
    assert not node.transition("activate")
    wait_for(lambda: "incompatible reliability" in node.log, 3.0, "the reason")
    refusal = next(line for line in node.log.splitlines() if "activate refused" in line)
    assert "camera/front" in refusal and "best_effort" in refusal
    warnings = [line for line in node.log.splitlines() if "[WARN]" in line and "incompatible reliability" in line]
    assert any("/camera/front/image_raw" in line for line in warnings), "a warning as soon as it is known"
    wait_for(lambda: "incompatible reliability" in robot.diagnostic("policy: node"), 3.0, "diagnostics with the reason")


def test_fault_28_a_camera_process_that_is_killed_and_started_again_is_matched_again(robot, start_node, start_camera):
    robot.script.camera = False
    driver = start_camera()
    start_node(observation__activation_timeout_s=20.0).bring_up()
    wait_until_commanding(robot)
    note_segments(driver.pid)
    since = now()
    driver.kill()
    assert_holds(robot, "STREAM_EXPIRED", since=since, bound_s=CAMERA_MAX_AGE_S + TAIL_S)
    start_camera()
    wait_until_commanding(robot)


@pytest.fixture
def start_camera(domain_id: int, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Starts a camera driver as a process; ends what is left of them after the test."""
    started: list[subprocess.Popen] = []
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(Path(__file__).parents[1])}

    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "support.camera_process"]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=20.0)


def _age(robot, stream: str) -> float:
    return robot.status.stream_ages[list(robot.status.streams).index(stream)]
