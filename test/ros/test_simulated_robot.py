# SPDX-License-Identifier: Apache-2.0
"""The bridge of the simulated robot as a real process, over real DDS."""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Callable

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from support.robot_client import ARM, START_S
from support.robot_client import RobotClient as Client
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.kinematics import radial_pose

StartBridge = Callable[..., subprocess.Popen]


def stamp_s(message: JointState | Image | DiagnosticArray) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


class Interval:
    """What was published and received between the newest diagnostics and the ones three before."""

    def __init__(self, client: Client) -> None:
        first, last = client.received["diagnostics"][-4], client.received["diagnostics"][-1]
        self._client = client
        self._times = stamp_s(first), stamp_s(last)
        self._counts = [{value.key: value.value for value in message.status[0].values} for message in (first, last)]
        self.seconds = self._times[1] - self._times[0]

    def published(self, key: str) -> int:
        return int(self._counts[1][key]) - int(self._counts[0][key])

    def received(self, topic: str) -> int:
        return sum(self._times[0] < stamp_s(m) <= self._times[1] for m in self._client.received[topic])


def test_joints_and_cameras_arrive_at_their_rates(client: Client, start_bridge: StartBridge):
    cameras = ["camera/top/image_raw", "camera/wrist/image_raw"]
    for topic in cameras:
        client.listen(Image, topic)
    start_bridge()
    client.wait_for_robot()
    client.wait_for(lambda: all(client.received[topic] for topic in cameras), 10.0, "pictures")

    topics = {
        "joint_states": ("joint_states.published", 100.0),
        cameras[0]: ("camera.top.published", 30.0),
        cameras[1]: ("camera.wrist.published", 30.0),
    }

    def all_arrive() -> bool:
        if len(client.received["diagnostics"]) < 5:
            return False
        interval = Interval(client)
        return all(
            0.9 * hz <= interval.published(key) / interval.seconds <= 1.03 * hz
            and interval.received(topic) >= 0.97 * interval.published(key)
            for topic, (key, hz) in topics.items()
        )

    # Waits for three seconds of it, because a busy machine may stall either process for a moment.
    client.wait_for(all_arrive, 60.0, "three seconds in which every topic comes at its rate, complete")

    joints = client.received["joint_states"]
    assert joints[-1].name == [*ARM, "gripper_joint"]
    assert len(joints[-1].velocity) == 4
    for topic in topics:
        assert np.all(np.diff([stamp_s(message) for message in client.received[topic]]) > 0.0), f"stamps of {topic}"
    for topic in cameras:
        image = client.received[topic][-1]
        assert (image.width, image.height, image.encoding, image.step) == (640, 480, "rgb8", 1920)
        assert len(image.data) == 640 * 480 * 3
        first = client.received[topic][-2]
        assert bytes(image.data) != bytes(first.data), "sensor noise: no two frames are the same"


def test_arm_follows_a_trajectory(client: Client, start_bridge: StartBridge):
    start_bridge(auto_reset=False)
    client.wait_for_robot()
    client.wait_for_subscriber(client.trajectories)
    target = client.positions()[:3] + np.array([0.3, 0.2, -0.2])

    client.command_arm(target.tolist(), 1.0)

    client.wait_for(lambda: np.allclose(client.positions()[:3], target, atol=0.005), 5.0, "the target")
    speeds = np.abs([message.velocity[0] for message in client.received["joint_states"]])
    assert 0.2 < speeds.max() <= 2.0


def test_joints_are_matched_by_name_whatever_their_order(client: Client, start_bridge: StartBridge):
    start_bridge(auto_reset=False)
    client.wait_for_robot()
    client.wait_for_subscriber(client.trajectories)
    target = client.positions()[:3] + np.array([0.3, 0.2, -0.1])
    client.command_arm(target[::-1].tolist(), 0.5, joint_names=ARM[::-1])
    client.wait_for(lambda: np.allclose(client.positions()[:3], target, atol=0.005), 5.0, "the target")


def test_gripper_follows_positions_no_faster_than_its_limit(client: Client, start_bridge: StartBridge):
    start_bridge(auto_reset=False)
    client.wait_for_robot()
    client.wait_for_subscriber(client.gripper)
    client.gripper.publish(Float64MultiArray(data=[0.06]))
    client.wait_for(lambda: abs(client.positions()[3] - 0.06) < 0.001, 5.0, "the gripper")
    speeds = np.abs([message.velocity[3] for message in client.received["joint_states"]])
    assert 0.03 < speeds.max() <= 0.15 + 1e-9


def test_task_is_solved_over_the_topics_and_the_next_one_is_drawn(client: Client, start_bridge: StartBridge):
    seed = 5
    task = PickEnv(obs_type="state")
    task.reset(seed=seed)
    start_bridge(seed=seed, success_hold_s=0.2, publish_raw=False, episode_timeout_s=300.0)
    client.wait_for_robot()
    client.wait_for_subscriber(client.trajectories)
    client.wait_for_subscriber(client.gripper)

    def move(*ways: tuple[float, float]) -> None:
        """Along (azimuth, radius), and wait for the arrival."""
        points = [task.world.arm.inverse(radial_pose(*way)) for way in ways]
        trajectory = [
            JointTrajectoryPoint(positions=list(point), time_from_start=Duration(nanosec=(i + 1) * 100_000_000))
            for i, point in enumerate(points)
        ]
        client.trajectories.publish(JointTrajectory(joint_names=ARM, points=trajectory))
        client.wait_for(lambda: np.allclose(client.positions()[:3], points[-1], atol=0.005), 10.0, "the arrival")

    def grip(gap: float, arrived: float) -> None:
        client.gripper.publish(Float64MultiArray(data=[gap]))
        client.wait_for(lambda: abs(client.positions()[3] - arrived) < 0.001, 5.0, "the gripper")

    puck = math.atan2(task.world.puck[1], task.world.puck[0]), math.hypot(*task.world.puck)
    goal = task.goal.azimuth, task.goal.radius
    move((puck[0], 0.20))
    move(*((puck[0], 0.20 + (puck[1] - 0.20) * i / 8) for i in range(1, 9)))
    grip(0.03, arrived=2 * task.world.table.puck_radius)  # the puck is in between
    move(*((puck[0] + (goal[0] - puck[0]) * i / 9, puck[1] + (goal[1] - puck[1]) * i / 9) for i in range(1, 10)))
    grip(0.085, arrived=0.085)

    client.wait_for(lambda: client.diagnostics().get("successes") == "1", 5.0, "the success")
    client.wait_for(lambda: client.diagnostics()["episodes"] == "2", 5.0, "the next task")
    assert client.positions()[:3] == pytest.approx(task.world.arm.inverse(radial_pose(*goal)), abs=0.01)


def test_arm_follows_positions_when_its_controller_takes_them(client: Client, start_bridge: StartBridge):
    start_bridge(
        auto_reset=False,
        controllers__arm_controller__type="position_array",
        controllers__arm_controller__joints=ARM,
        controllers__arm_controller__max_velocity=[0.5, 0.5, 0.5],
    )
    client.wait_for_robot()
    client.wait_for_subscriber(client.arm_positions)
    target = client.positions()[:3] + np.array([0.3, 0.0, 0.0])
    client.arm_positions.publish(Float64MultiArray(data=target.tolist()))
    client.wait_for(lambda: np.allclose(client.positions()[:3], target, atol=0.005), 5.0, "the target")
    speeds = np.abs([message.velocity[0] for message in client.received["joint_states"]])
    assert speeds.max() <= 0.55, "the controller's own limit"


def test_command_that_is_not_finite_is_refused_and_the_arm_stays(client: Client, start_bridge: StartBridge):
    start_bridge(auto_reset=False)
    client.wait_for_robot()
    client.wait_for_subscriber(client.trajectories)
    before = client.positions()
    client.command_arm([float("nan"), 0.0, 0.0], 0.2)
    client.wait_for(lambda: client.diagnostics().get("commands_refused") == "1", 5.0, "the refusal")
    assert client.positions() == pytest.approx(before, abs=1e-6)


def test_reset_draws_a_new_task_and_counts_it_without_moving_the_arm(client: Client, start_bridge: StartBridge):
    client.listen(Image, "camera/top/image_raw")
    start_bridge(auto_reset=False, image_noise=0.0)
    client.wait_for_robot()
    client.wait_for(lambda: client.received["camera/top/image_raw"], 10.0, "a picture")
    before, picture = client.positions(), bytes(client.received["camera/top/image_raw"][-1].data)
    assert client.call_reset().success
    client.wait_for(lambda: bytes(client.received["camera/top/image_raw"][-1].data) != picture, 5.0, "another picture")
    client.wait_for(lambda: client.diagnostics().get("episodes") == "2", 5.0, "the count")
    assert client.positions() == pytest.approx(before, abs=1e-6)


def test_diagnostics_count_what_was_published_and_received(client: Client, start_bridge: StartBridge):
    start_bridge()
    client.wait_for_robot()
    client.wait_for_subscriber(client.gripper)
    client.gripper.publish(Float64MultiArray(data=[0.05]))
    client.wait_for(lambda: client.diagnostics().get("commands_received") == "1", 5.0, "the count")
    for camera in ("top", "wrist"):
        count = f"camera.{camera}.published"
        client.wait_for(lambda count=count: int(client.diagnostics()[count]) > 30, 5.0, count)
    assert client.diagnostics()["successes"] == "0"


def test_pictures_can_be_compressed_and_of_another_size(client: Client, start_bridge: StartBridge):
    import cv2

    topic = "camera/top/image_raw/compressed"
    client.listen(CompressedImage, topic)
    start_bridge(publish_compressed=True, publish_raw=False, image_width=320, image_height=240)
    client.wait_for(lambda: client.received[topic], START_S, "a compressed picture")
    message = client.received[topic][-1]
    assert "jpeg" in message.format
    picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3)
    blue, _, red = picture.reshape(-1, 3).mean(axis=0)
    assert red > blue + 20, "wood is brown, not blue"


def test_simulated_time_is_published_and_stamps_follow_it(client: Client, start_bridge: StartBridge):
    client.listen(Clock, "/clock")
    start_bridge(publish_clock=True)
    client.wait_for(lambda: len(client.received["/clock"]) > 50, START_S, "/clock")
    client.wait_for_robot()
    times = [message.clock.sec + message.clock.nanosec * 1e-9 for message in client.received["/clock"]]
    assert np.all(np.diff(times) > 0.0)
    assert abs(stamp_s(client.received["joint_states"][-1]) - times[-1]) < 1.0


def test_silent_camera_stops_at_once_and_comes_back_while_the_other_goes_on(client: Client, start_bridge: StartBridge):
    top, wrist = "camera/top/image_raw", "camera/wrist/image_raw"
    client.listen(Image, top)
    client.listen(Image, wrist)
    start_bridge(image_width=64, image_height=48)
    client.wait_for(lambda: client.received[top] and client.received[wrist], START_S, "pictures")
    assert client.set_parameter("faults.silent_cameras", ["top"]) == ""
    set_s = time.time()
    client.wait_for_more(wrist, 30)
    assert stamp_s(client.received[top][-1]) <= set_s
    client.wait_for(lambda: "silent_cameras top" in client.robot_diagnostic(), 5.0, "diagnostics naming the fault")
    assert client.set_parameter("faults.silent_cameras", []) == ""
    client.wait_for_more(top)
    client.wait_for(lambda: client.robot_diagnostic() == "running", 5.0, "diagnostics without a fault")


def test_frozen_camera_repeats_its_picture_with_fresh_stamps(client: Client, start_bridge: StartBridge):
    top = "camera/top/image_raw"
    client.listen(Image, top)
    start_bridge(image_width=64, image_height=48)
    client.wait_for(lambda: client.received[top], START_S, "a picture")
    assert client.set_parameter("faults.frozen_cameras", ["top"]) == ""
    client.wait_for_more(top, 10)
    before, after = client.received[top][-2:]
    assert bytes(before.data) == bytes(after.data), "the same picture in spite of the sensor noise"
    assert stamp_s(after) > stamp_s(before)
    assert client.set_parameter("faults.frozen_cameras", []) == ""
    client.wait_for_more(top)
    before, after = client.received[top][-2:]
    assert bytes(before.data) != bytes(after.data)


def test_silent_joint_states_stop_at_once_and_come_back(client: Client, start_bridge: StartBridge):
    top = "camera/top/image_raw"
    client.listen(Image, top)
    start_bridge(image_width=64, image_height=48)
    client.wait_for_robot()
    assert client.set_parameter("faults.silent_joint_states", True) == ""
    set_s = time.time()
    client.wait_for_more(top, 30)
    assert stamp_s(client.received["joint_states"][-1]) <= set_s
    assert client.set_parameter("faults.silent_joint_states", False) == ""
    client.wait_for_more("joint_states")


def test_fault_of_an_unknown_camera_is_refused_and_so_is_what_is_read_at_start(
    client: Client, start_bridge: StartBridge
):
    start_bridge(publish_raw=False)
    client.wait_for_robot()
    assert "no camera 'tip': did you mean 'top'" in client.set_parameter("faults.silent_cameras", ["tip"])
    assert "is read at start only" in client.set_parameter("camera_hz", 10.0)
    client.wait_for_more("joint_states")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_bridge_cleanly(client: Client, start_bridge: StartBridge, number: int):
    bridge = start_bridge()
    client.wait_for_robot()
    bridge.send_signal(number)
    assert bridge.wait(10.0) == 0, bridge.stderr.read()
    assert "Traceback" not in bridge.stderr.read()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"env_id": "policy_ros/Pluck-v0"}, "cannot be made"),
        ({"env_id": "os:policy_ros/Pick-v0"}, "without a module"),
        ({"camera_rate": 10.0}, "unknown parameter 'camera_rate'"),
        ({"cameras": ["tip"]}, "did you mean 'top'"),
    ],
)
def test_wrong_parameter_is_one_line_and_exit_status_1(start_bridge: StartBridge, parameters, message):
    bridge = start_bridge(**parameters)
    _, errors = bridge.communicate(timeout=START_S)
    assert bridge.returncode == 1
    assert message in errors
    assert "Traceback" not in errors
