# SPDX-License-Identifier: Apache-2.0
"""The scripted expert in the simulated robot, on the robot's own command topics."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from support.robot_client import ARM, START_S, RobotClient
from trajectory_msgs.msg import JointTrajectory

from policy_ros.controllers import JointTrajectoryFollower, Trajectory, TrajectoryPoint
from policy_ros.msg import Episode
from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.physics import SUBSTEP_S, World

StartBridge = Callable[..., subprocess.Popen]
TRAJECTORIES, GRIPPER = "arm_controller/joint_trajectory", "gripper_controller/commands"
PERIOD_NS = 20_000_000
STEP_NS = 10_000_000
# In simulated time a busy machine is slow, but not late.
QUICK = {
    "publish_raw": False,
    "publish_clock": True,
    "expert": True,
    "reset_arm": True,
    "seed_episodes": True,
    "start_on_request": True,
}


@pytest.fixture
def listener(client: RobotClient) -> RobotClient:
    client.listen_reliably(Episode, "episode")
    client.listen_reliably(JointTrajectory, TRAJECTORIES)
    client.listen_reliably(Float64MultiArray, GRIPPER)
    return client


def events(client: RobotClient) -> list[tuple[int, int, int]]:
    return [(message.index, message.event, message.result) for message in client.received["episode"]]


def test_expert_solves_its_tasks_through_the_command_topics(listener: RobotClient, start_bridge: StartBridge):
    start_bridge(**QUICK, seed=3, episodes=2, success_hold_s=0.2, episode_pause_s=0.1, episode_timeout_s=60.0)
    listener.wait_for_robot()
    assert events(listener) == []
    assert listener.call_reset().success
    listener.wait_for(lambda: len(events(listener)) == 4, 60.0, "the end of both episodes")
    assert events(listener) == [
        (index, *boundary)
        for index in (0, 1)
        for boundary in ((Episode.STARTED, Episode.UNKNOWN), (Episode.ENDED, Episode.SUCCESS))
    ]
    assert {message.task for message in listener.received["episode"]} == {"put the puck on the goal"}
    listener.wait_for(lambda: listener.diagnostics().get("successes") == "2", 5.0, "the count")
    assert listener.diagnostics()["commands_refused"] == "0"
    assert not listener.call_reset().success, "both are over"


def test_arm_without_noise_follows_the_commands(listener: RobotClient, start_bridge: StartBridge):
    start_bridge(**QUICK, seed=11, episodes=1, success_hold_s=0.2, episode_timeout_s=60.0)
    listener.wait_for_robot()
    listener.call_reset()
    listener.wait_for(lambda: len(events(listener)) == 2, 60.0, "the end of the episode")
    assert np.median(np.abs(tracking_errors(listener)), axis=0).max() < 1e-6


def test_commands_look_like_those_of_the_policy_node(listener: RobotClient, start_bridge: StartBridge):
    start_bridge(**QUICK)
    listener.wait_for_robot()
    listener.call_reset()
    listener.wait_for(lambda: len(listener.received[TRAJECTORIES]) > 20, 20.0, "trajectories")
    listener.wait_for(lambda: len(listener.received[GRIPPER]) > 20, 5.0, "positions of the gripper")
    for message in filter(is_timed, listener.received[TRAJECTORIES]):
        assert message.joint_names == ARM
        times = [point.time_from_start.nanosec for point in message.points]
        assert times == [20_000_000 * i for i in range(5)]
        assert list(message.points[-1].velocities) == [0.0, 0.0, 0.0]
    moving = listener.received[TRAJECTORIES][15]
    assert np.abs(moving.points[1].velocities).max() > 0.05
    assert all(len(message.data) == 1 for message in listener.received[GRIPPER])


def test_episode_of_a_seed_starts_as_the_environment_does(listener: RobotClient, start_bridge: StartBridge):
    start_bridge(**QUICK, seed=40, episodes=2, success_hold_s=0.2, episode_pause_s=0.5, episode_timeout_s=60.0)
    listener.wait_for_robot()
    listener.call_reset()
    listener.wait_for(lambda: len(events(listener)) == 3, 60.0, "the start of the second episode")
    env = PickEnv(obs_type="state")
    for index, started in ((0, 0), (1, 2)):
        env.reset(seed=40 + index)
        assert first_positions(listener, started) == pytest.approx(env.joint_positions, abs=1e-6)


def first_positions(client: RobotClient, event: int) -> list[float]:
    """Joint positions in the pause before an event: the arm stands."""
    start = client.received["episode"][event].header.stamp
    before: list[JointState] = [
        message
        for message in client.received["joint_states"]
        if (message.header.stamp.sec, message.header.stamp.nanosec) < (start.sec, start.nanosec)
    ]
    return list(before[-1].position)


def test_noise_pushes_the_arm_but_is_not_in_the_commands(listener: RobotClient, start_bridge: StartBridge):
    start_bridge(**QUICK, expert_noise=0.02, seed=11, episodes=1, success_hold_s=0.2, episode_timeout_s=120.0)
    listener.wait_for_robot()
    listener.call_reset()
    listener.wait_for(lambda: len(events(listener)) == 2, 120.0, "the end of the episode")
    assert events(listener)[-1] == (0, Episode.ENDED, Episode.SUCCESS)
    assert np.median(np.abs(tracking_errors(listener)), axis=0).max() > 0.006


def tracking_errors(client: RobotClient) -> np.ndarray:
    """Measured positions of the arm against those of an arm that follows the recorded commands, ``(N, 3)`` [rad]."""
    commands = {
        stamp_ns(message) - PERIOD_NS: message for message in client.received[TRAJECTORIES] if is_timed(message)
    }
    states = {stamp_ns(message): np.array(message.position) for message in client.received["joint_states"]}
    now_ns = min(commands)
    at_rest = states[max(time_ns for time_ns in states if time_ns <= now_ns)]  # the first command finds it so
    follower, world = JointTrajectoryFollower(ARM, at_rest[:3]), World()
    world.place(at_rest)
    errors = []
    while now_ns < max(commands):
        if now_ns in commands:
            follower.accept(trajectory(commands[now_ns], now_ns + PERIOD_NS), now_ns)
        setpoint, _ = follower.sample(now_ns)
        for _ in range(round(STEP_NS * 1e-9 / SUBSTEP_S)):
            for servo, target in zip(world.servos, setpoint, strict=False):
                servo.step(target, SUBSTEP_S)
        now_ns += STEP_NS
        if now_ns in states:
            errors.append(states[now_ns][:3] - world.positions[:3])
    return np.array(errors)


def is_timed(message: JointTrajectory) -> bool:
    """Whether it is more than the command to stay."""
    return stamp_ns(message) > 0


def trajectory(message: JointTrajectory, start_ns: int) -> Trajectory:
    points = [
        TrajectoryPoint(point.time_from_start.nanosec, point.positions, point.velocities) for point in message.points
    ]
    return Trajectory(message.joint_names, points, start_ns)


def stamp_ns(message: JointTrajectory | JointState) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expert_noise": 0.01}, "expected expert: true with it"),
        ({"expert": True, "expert_rate_hz": 60.0}, "whole fraction of 200 Hz"),
        (
            {"expert": True, "controllers__arm__joints": ARM, "controllers__arm__type": "joint_trajectory"},
            "got none for gripper_joint",
        ),
    ],
)
def test_expert_that_cannot_demonstrate_is_refused_in_a_line(start_bridge: StartBridge, parameters, message):
    bridge = start_bridge(**parameters)
    _, errors = bridge.communicate(timeout=START_S)
    assert bridge.returncode == 1
    assert message in errors
    assert "Traceback" not in errors
