# SPDX-License-Identifier: Apache-2.0
"""Parameters, signals, clocks, the graph, and the life of the process."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState
from std_msgs.msg import String
from support.checkpoints import write_act
from support.clock import SimulatedClock
from support.faulty_node import WALL_CLOCK_STEP_S
from support.holding import PATIENT, wait_until_commanding
from support.process import END_S, NodeProcess
from support.robot import FakeRobot
from support.waiting import stays, wait_for
from trajectory_msgs.msg import JointTrajectory

from policy_ros.execution import SteadyClock
from policy_ros.msg import PolicyStatus
from policy_ros.ros.clocks import StepFreeTime


def test_fault_16_parameters_set_mid_flight_are_refused_with_a_reason_or_applied(robot, start_node):
    node = start_node(**PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    assert "deactivate and clean up" in node.set_parameter("execution.rate_hz", 20.0)
    assert "is not a choice" in node.set_parameter("execution.mode", "snyc")
    assert "expected at most 19" in node.set_parameter("execution.execution_horizon", 50)
    assert node.get_parameter("execution.rate_hz") == 50.0
    assert node.set_parameter("execution.mode", "sync") == ""
    wait_for(lambda: robot.status.mode == "sync", 5.0, "mode sync")
    assert robot.status.holds == 0
    assert node.set_parameter("execution.mode", "overlap") == ""
    wait_for(lambda: robot.status.mode == "overlap", 5.0, "mode overlap")
    assert node.transition("deactivate") and node.transition("cleanup")
    assert node.set_parameter("execution.rate_hz", 20.0) == "", "what the reason told to do"
    assert node.get_parameter("execution.rate_hz") == 20.0


def test_fault_16_unknown_and_ill_typed_parameters_are_named_when_the_node_configures(start_node):
    node = start_node(execution__mdoe="sync", joints__max_age_s="soon")
    assert not node.transition("configure")
    wait_for(lambda: "unknown parameter 'execution.mdoe'; did you mean 'execution.mode'?" in node.log, 3.0, "the name")
    assert "joints.max_age_s: expected float, got str 'soon'" in node.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_fault_17_a_signal_holds_the_robot_and_ends_the_process_soon(robot, start_node, number):
    states: list[State] = []
    robot.node.create_subscription(
        TransitionEvent, "policy/transition_event", lambda event: states.append(event.goal_state), 10
    )
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    wait_for(lambda: "active" in [state.label for state in states], 5.0, "the transition to active")
    states.clear()
    took_s = node.signal(number)
    assert node.process.returncode == 0, node.log
    assert took_s < END_S
    wait_for(lambda: len(robot.commands[-1].message.points) == 1, 1.0, "the hold command, which is the last one")
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 0.3, "a command of a process that has ended")
    lasting = [state.label for state in states if state.id <= State.PRIMARY_STATE_FINALIZED]
    assert lasting == ["inactive", "unconfigured", "finalized"]
    assert "Traceback" not in node.log


def test_fault_17_a_signal_during_configure_waits_for_its_end(start_faulty_node, fault):
    fault.set("slow")
    node = start_faulty_node(autostart=True)
    wait_for(lambda: node.state in ("configuring", "inactive", "activating", "active"), 20.0, "a transition under way")
    node.signal(signal.SIGTERM)
    assert node.process.returncode == 0, node.log
    assert "Traceback" not in node.log


def test_fault_17_a_signal_during_a_requested_transition_waits_for_its_end(robot, start_faulty_node, fault):
    node = start_faulty_node()
    fault.set("hang")  # the warm-up inference does not return
    node.begin_transition("configure")
    wait_for(lambda: node.state == "configuring", 10.0, "the state 'configuring'")
    node.process.send_signal(signal.SIGTERM)
    # Longer than all joins on the way out, which are bounded.
    stays(lambda: node.process.poll() is None, 3.0, "an end in the middle of a transition")
    fault.set("")
    node.process.wait(timeout=20.0)
    assert node.process.returncode == 0, node.log
    assert "Traceback" not in node.log and "not possible" not in node.log


def test_fault_18_a_killed_node_leaves_a_trajectory_that_ends_at_rest(robot, start_node):
    node = start_node(execution__lookahead_steps=5)
    node.bring_up()
    wait_until_commanding(robot)
    node.signal(signal.SIGKILL)
    points = robot.commands[-1].message.points
    assert len(points) <= 5
    assert list(points[-1].velocities) == [0.0, 0.0, 0.0]
    assert points[-1].time_from_start.sec == 0 and points[-1].time_from_start.nanosec <= 5 * 20_000_000
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 0.5, "a command of a process that was killed")


def test_fault_20_a_clock_that_jumps_back_starts_over_and_nothing_old_is_executed(robot, start_node):
    clock = SimulatedClock(robot)
    clock.time_ns = 100_000_000_000
    node = start_node(use_sim_time=True)
    node.bring_up()
    wait_until_commanding(robot)
    epoch = robot.status.epoch
    clock.time_ns = 1_000_000_000  # a bag loops
    wait_for(lambda: robot.status.epoch > epoch, 5.0, "a new epoch")
    wait_until_commanding(robot)
    chunk = robot.chunks[-1]
    assert all(stamp.sec < 90 for stamp in chunk.observation_stamps), "observed before the jump"
    assert "simulated time jumped by -" in node.log


def test_fault_20_a_clock_that_leaps_forward_starts_over(robot, start_node):
    clock = SimulatedClock(robot)
    node = start_node(use_sim_time=True)
    node.bring_up()
    wait_until_commanding(robot)
    epoch = robot.status.epoch
    clock.time_ns += 30_000_000_000  # somebody moved the bag's slider
    wait_for(lambda: robot.status.epoch > epoch, 5.0, "a new epoch")
    wait_until_commanding(robot)
    assert "simulated time jumped by +30" in node.log


def test_fault_23_activation_without_clock_is_refused_naming_it(robot, start_node):
    node = start_node(use_sim_time=True, observation__activation_timeout_s=0.5)
    assert node.transition("configure")
    assert not node.transition("activate")
    wait_for(lambda: "nothing came on '/clock'" in node.log, 2.0, "the reason")


def test_fault_23_activation_waits_for_a_clock_that_comes_late(robot, start_node):
    node = start_node(use_sim_time=True, observation__activation_timeout_s=20.0)
    assert node.transition("configure")
    answer = node.begin_transition("activate")
    wait_for(lambda: node.state == "activating", 10.0, "the state 'activating'")
    stays(lambda: not answer.done(), 0.5, "an answer before the clock")
    SimulatedClock(robot)
    wait_for(answer.done, 10.0, "the end of the transition")
    assert answer.result().success, node.log


def test_fault_21_a_wall_clock_that_is_set_changes_no_age():
    wall, steady, steps = [1_000_000_000_000], [5_000_000_000], []
    time_ = StepFreeTime(lambda: wall[0], on_step=steps.append, monotonic_ns=lambda: steady[0])
    stamp_ns = time_.to_local(wall[0])
    for elapsed_ns, step_ns in ((20_000_000, 0), (20_000_000, 3_600_000_000_000), (20_000_000, -7_000_000_000)):
        wall[0] += elapsed_ns + step_ns
        steady[0] += elapsed_ns
        time_.now_ns()
    assert time_.now_ns() - stamp_ns == 60_000_000
    assert steps == [3600.0, -7.0]
    assert time_.to_ros(time_.now_ns()) == wall[0]
    assert time_.to_local(wall[0]) == time_.now_ns()


def test_fault_21_the_node_goes_on_when_the_wall_clock_is_set_and_warns(robot, start_faulty_node, fault):
    node = start_faulty_node(**PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    step_ns = round(WALL_CLOCK_STEP_S * 1e9)
    fault.set("clock")  # it is the clock of the whole machine: what the robot stamps steps too
    robot.script.joint_stamp = robot.script.camera_stamp = lambda now_ns: now_ns + step_ns
    wait_for(lambda: "the wall clock was set by +3600" in node.log, 5.0, "a warning")
    stays(lambda: robot.status.holds == 0, 1.0, "a hold because the wall clock was set")
    assert max(robot.status.stream_ages) < WALL_CLOCK_STEP_S / 10
    sent, stamped = robot.commands[-1], robot.commands[-1].message.header.stamp
    behind_s = time.time() - (time.monotonic() - sent.time_s) + WALL_CLOCK_STEP_S - stamped.sec
    assert abs(behind_s) < WALL_CLOCK_STEP_S / 10, "commands carry the time that everybody else has"


def test_fault_21_the_pace_is_that_of_a_clock_that_nobody_can_set():
    before_ns = time.monotonic_ns()
    assert before_ns <= SteadyClock().now_ns() <= time.monotonic_ns()


def test_fault_21_a_slowly_adjusted_wall_clock_is_followed_without_a_warning():
    wall, steady, steps = [10_000_000_000], [0], []
    time_ = StepFreeTime(lambda: wall[0], on_step=steps.append, monotonic_ns=lambda: steady[0])
    for _ in range(1000):
        steady[0] += 20_000_000
        wall[0] += 20_010_000  # 0.05 % fast
        time_.now_ns()
    assert not steps
    assert time_.now_ns() == wall[0]


def test_fault_21_a_pause_between_the_readings_of_two_clocks_is_no_step():
    """A busy machine may take the thread away anywhere."""
    now, pause, steps = [5_000_000_000], [0], []

    def wall_ns() -> int:
        now[0] += pause[0]
        return now[0] + 1_000_000_000_000

    time_ = StepFreeTime(wall_ns, on_step=steps.append, monotonic_ns=lambda: now[0])
    stamp_ns = time_.now_ns()
    for pause[0] in (0, 80_000_000, 0, 900_000_000, 0):
        now[0] += 20_000_000
        local_ns = time_.now_ns()
    assert not steps
    assert local_ns - stamp_ns == 5 * 20_000_000 + 980_000_000


def test_fault_24_a_second_command_publisher_is_refused_unless_allowed(robot, start_node):
    intruder = robot.node.create_publisher(JointTrajectory, "arm/joint_trajectory", 1)
    node = start_node()
    assert node.transition("configure")
    wait_for(lambda: robot.node.count_publishers("arm/joint_trajectory") == 2, 5.0, "both publishers in the graph")
    assert not node.transition("activate")
    wait_for(lambda: "already commanded by /fake_robot" in node.log, 2.0, "the reason, naming the node")
    robot.node.destroy_publisher(intruder)
    wait_for(lambda: node.transition("activate"), 5.0, "activation without the other publisher")
    robot.node.create_publisher(JointTrajectory, "arm/joint_trajectory", 1)
    wait_for(
        lambda: "has other publishers: /fake_robot" in robot.diagnostics["policy: node"].message,
        5.0,
        "a warning at run time",
    )


def test_fault_24_a_second_publisher_can_be_allowed(robot, start_node):
    robot.node.create_publisher(JointTrajectory, "arm/joint_trajectory", 1)
    start_node(allow_second_publisher=True).bring_up()
    wait_until_commanding(robot)


def test_fault_26_a_command_topic_without_listener_is_warned_about(domain_id, parameters, tmp_path):
    robot = FakeRobot(domain_id, listen=False)
    node = NodeProcess(robot, domain_id, parameters, tmp_path)
    try:
        node.bring_up()
        wait_for(lambda: "nobody listens to '/arm/joint_trajectory'" in node.log, 3.0, "the warning")
        told = "nobody listens to '/arm/joint_trajectory'"
        wait_for(lambda: told in robot.diagnostic("policy: node"), 3.0, "the warning in diagnostics")
        robot.listen()
        wait_for(lambda: told not in robot.diagnostic("policy: node"), 3.0, "the end of the warning in diagnostics")
        wait_until_commanding(robot)
    finally:
        node.close()
        robot.close()


def test_fault_31_a_hundred_cycles_leave_nothing_behind(robot, start_node):
    node = start_node()
    for _ in range(20):  # the allocator and the middleware reach their level first
        assert node.transition("configure") and node.transition("cleanup")
    before = _footprint(node.process.pid)
    for _ in range(100):
        assert node.transition("configure") and node.transition("cleanup")
    after = _footprint(node.process.pid)
    assert after["threads"] == before["threads"]
    assert after["memory_mb"] - before["memory_mb"] < 30, f"{before} -> {after}"
    wait_for(lambda: robot.node.count_publishers("arm/joint_trajectory") == 0, 5.0, "no command publisher left")
    wait_for(lambda: robot.node.count_subscribers("camera/front/image_raw") == 0, 5.0, "no subscription left")
    node.bring_up()
    wait_until_commanding(robot)
    assert robot.node.count_publishers("arm/joint_trajectory") == 1
    before = len(robot.statuses)
    wait_for(lambda: len(robot.statuses) > before + 30, 5.0, "statuses of some time")
    periods_s = np.diff([_stamp_s(status) for status in robot.statuses[before:]])
    assert np.mean(periods_s) > 0.75 / 20, "more statuses than one timer publishes"


def test_activation_cycles_leave_no_thread_behind(robot, start_node):
    node = start_node()
    assert node.transition("configure")
    assert node.transition("activate") and node.transition("deactivate")
    before = _footprint(node.process.pid)["threads"]
    for _ in range(10):
        assert node.transition("activate") and node.transition("deactivate")
    assert _footprint(node.process.pid)["threads"] == before


def test_reset_is_refused_while_inactive(start_node):
    node = start_node()
    answer = node.reset()
    assert not answer.success and "unconfigured" in answer.message


def test_a_node_without_faults_does_not_hold(robot, start_node):
    start_node().bring_up()
    wait_until_commanding(robot)
    stays(
        lambda: robot.status.holds == 0 and robot.status.state != PolicyStatus.HOLDING,
        3.0,
        lambda: f"a hold without a fault: {[(status.holds, status.hold_cause) for status in robot.statuses[-5:]]}",
    )


def _stamp_s(status: PolicyStatus) -> float:
    return status.header.stamp.sec + status.header.stamp.nanosec * 1e-9


def _footprint(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {
        "threads": int(re.search(r"Threads:\s+(\d+)", text)[1]),
        "memory_mb": int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024,
    }


def test_fault_17_a_node_without_policy_ends_at_once(start_node):
    node = start_node()
    assert node.signal(signal.SIGTERM) < END_S
    assert node.process.returncode == 0


def test_fault_17_a_signal_cuts_the_wait_for_streams_short(robot, start_node):
    robot.script.camera = False
    node = start_node(autostart=True, observation__activation_timeout_s=60.0)
    wait_for(lambda: node.state == "activating", 20.0, "the wait for streams")
    assert node.signal(signal.SIGTERM) < END_S
    assert node.process.returncode == 0, node.log


def test_fault_16_the_clock_cannot_be_changed_under_a_running_node(robot, start_node):
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    assert "cannot change while the node is 'active'" in node.set_parameter("use_sim_time", True)
    robot.script.joints = robot.script.camera = False
    wait_for(lambda: robot.status.state == PolicyStatus.HOLDING, 5.0, "ages that go on")


def test_the_roots_of_checkpoints_cannot_be_widened_at_run_time(start_node):
    node = start_node()
    assert node.set_parameter("policy.roots", ["/"]) != ""


def test_a_topic_name_that_ros_refuses_is_named_and_leaves_nothing_behind(robot, start_node):
    node = start_node(outputs__arm__topic="bad topic")
    assert not node.transition("configure")
    wait_for(lambda: "outputs.arm.topic: expected a topic name, got 'bad topic'" in node.log, 3.0, "the reason")
    assert "Traceback" not in node.log
    assert node.set_parameter("outputs.arm.topic", "arm/joint_trajectory") == ""
    node.bring_up()
    wait_until_commanding(robot)
    assert robot.node.count_publishers("arm/joint_trajectory") == 1


def test_a_checkpoint_with_other_cameras_can_be_configured_after_the_first(robot, start_node, parameters, tmp_path):
    other = write_act(tmp_path / "other", camera="side")
    del parameters["cameras.front.max_age_s"]
    node = start_node()
    assert node.transition("configure") and node.transition("cleanup")
    assert node.set_parameter("policy.path", str(other)) == ""
    assert node.transition("configure"), node.log
    wait_for(lambda: robot.node.count_subscribers("camera/side/image_raw") == 1, 5.0, "the other camera's subscription")


def test_a_reset_of_a_healthy_node_is_no_hold(robot, start_node):
    node = start_node(**PATIENT)
    node.bring_up()
    wait_until_commanding(robot)
    epoch = robot.status.epoch
    for _ in range(3):
        assert node.reset().success
    wait_for(lambda: robot.status.epoch >= epoch + 3, 3.0, "new epochs")
    wait_until_commanding(robot)
    assert robot.status.holds == 0


def test_a_prompt_from_the_topic_outlives_the_change_of_another_parameter(robot, start_faulty_node, fault):
    node = start_faulty_node()
    node.bring_up()
    wait_until_commanding(robot)
    publisher = robot.node.create_publisher(String, "policy/prompt", 1)
    wait_for(lambda: publisher.get_subscription_count() == 1, 5.0, "the prompt's subscription")
    publisher.publish(String(data="pick up the puck"))
    wait_for(lambda: fault.task() == "pick up the puck", 5.0, "the prompt in an observation")
    assert node.set_parameter("execution.mode", "sync") == ""
    wait_for(lambda: robot.status.mode == "sync", 5.0, "mode sync")
    chunks = robot.status.chunks
    wait_for(lambda: robot.status.chunks > chunks + 1, 5.0, "more chunks")
    assert fault.task() == "pick up the puck"


def test_shutdown_from_active_holds_and_stays_silent(robot, start_node):
    node = start_node()
    node.bring_up()
    wait_until_commanding(robot)
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_ACTIVE_SHUTDOWN
    assert node.call(ChangeState, "change_state", request).success
    assert node.state == "finalized"
    wait_for(lambda: len(robot.commands[-1].message.points) == 1, 1.0, "the hold")
    count = len(robot.commands)
    stays(lambda: len(robot.commands) == count, 0.5, "a command after shutdown")


def test_a_node_in_a_namespace_uses_its_topics(domain_id, checkpoint, parameters, tmp_path):
    robot = FakeRobot(domain_id, namespace="left")
    node = NodeProcess(robot, domain_id, parameters, tmp_path, ros_arguments=["-r", "__ns:=/left"])
    try:
        node.bring_up()
        wait_until_commanding(robot)
        assert robot.node.count_publishers("/left/arm/joint_trajectory") == 1
    finally:
        node.close()
        robot.close()
