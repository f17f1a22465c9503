# SPDX-License-Identifier: Apache-2.0
"""A recording played to the real node says the same about a policy as the same recording replayed offline."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from support.bags import STORE, Recording
from support.checkpoints import write_act
from support.replays import COMMANDS, Witness, course, record, with_execution
from support.waiting import wait_for

from policy_ros.bags import BagError, open_bag
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.policy import load_policy_for
from policy_ros.policies import load_policy
from policy_ros.replay.bag_replay import BagReplay
from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.options import ReplayOptions
from policy_ros.ros.replay.heard import Heard
from policy_ros.ros.replay.link import Interrupted, Link, ThroughRosError
from policy_ros.ros.replay.listening import ListeningReplay
from policy_ros.ros.replay.node_process import PolicyNodeProcess
from policy_ros.ros.replay.played_topics import topics_to_play
from policy_ros.ros.replay.session import replay_through_ros
from policy_ros.ros.replay.traces import TraceBuilder

DURATION_S = 3.0
EPISODES = ((0.2, 1.4), (1.6, 2.8))
URDF = """<robot name="arm"><link name="base"/><link name="upper"/><link name="lower"/>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
<limit lower="-3" upper="3" effort="9" velocity="0.05"/></joint>
<joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/>
<limit lower="-3" upper="3" effort="9" velocity="0.05"/></joint></robot>"""
INPUTS = ("/robot_description", "/joint_states", "/camera/front/image_raw")
# The course of the recording is at most 0.3 rad/s fast. What begins later is compared with setpoints that are as much
# later; on a machine that is busy beyond the delays of the test's own processes by up to two camera periods of 40 ms.
LATE_S = 0.08
SPEED = max(abs(np.subtract(course(t + 1e-3), course(t))).mean() / 1e-3 for t in np.linspace(0.0, DURATION_S, 100))


@pytest.fixture
def graph(domain_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this test starts is in a domain of its own, with patience for a machine that is busy."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_act(tmp_path_factory.mktemp("policy") / "act", joints=2)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course, and the description of a robot that can hardly keep to it."""
    folder = tmp_path_factory.mktemp("bag")
    plain = open_bag(record(folder / "plain", DURATION_S, episodes=EPISODES))
    description = STORE.types["std_msgs/msg/String"](data=URDF)
    with Recording(folder / "bag") as written:
        written.add("/robot_description", plain.start_ns, description)
        for message in plain.messages(plain.topics):
            written.raw(message.topic, message.log_ns, plain.topics[message.topic].type, bytes(message.data))
    return folder / "bag"


def replay_parameters(**execution: object) -> NodeParameters:
    parameters = with_execution(execution_horizon=2, **execution)
    return dataclasses.replace(parameters, gate=dataclasses.replace(parameters.gate, use_robot_description=True))


@pytest.fixture
def options() -> ReplayOptions:
    """The offline replay's parameters, but with room for a test machine that must not look like a fault."""
    parameters = replay_parameters(heartbeat_timeout_s=5.0)
    return ReplayOptions(
        dataclasses.replace(
            parameters,
            joints=dataclasses.replace(parameters.joints, max_age_s=2.0),
            cameras={"front": dataclasses.replace(parameters.cameras["front"], max_age_s=2.0)},
        )
    )


@pytest.fixture(scope="module")
def offline(bag: Path, policy: Path) -> Witness:
    """What the policy answers to everything that could be seen, and what an execution in no hurry does with it."""
    parameters = replay_parameters()
    parameters = dataclasses.replace(parameters, policy=dataclasses.replace(parameters.policy, path=str(policy)))
    witness = Witness()
    BagReplay(bag, load_policy_for(parameters), ReplayOptions(parameters)).run(witness)
    return witness


def by_observation(witness: Witness) -> dict[tuple, np.ndarray]:
    return {tuple(sorted(chunk.observation_stamps_ns.items())): chunk.actions for chunk in witness.chunks}


def assert_same_answers(offline: Witness, through: Witness) -> None:
    """Chunks from equal observations are equal; and these are most of them, so that this says something."""
    expected = by_observation(offline)
    common = [chunk for chunk in through.chunks if tuple(sorted(chunk.observation_stamps_ns.items())) in expected]
    assert len(common) >= len(through.chunks) // 2 >= 5
    for chunk in common:
        answer = expected[tuple(sorted(chunk.observation_stamps_ns.items()))]
        np.testing.assert_allclose(chunk.actions, answer, atol=1e-5)


def values(witness: Witness) -> dict[str, float]:
    return {name: value.value for name, value in summarize([measure(each) for each in witness.traces]).values().items()}


def children() -> list[str]:
    """Command lines of the processes that this one has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and "policy_node" in command:
            found.append(command)
    return found


class Commanded:
    """Counts commands on the robot's topic."""

    def __init__(self) -> None:
        self.count = 0
        self._context = Context()
        self._context.init()
        self._node = Node("robot", context=self._context)
        self._node.create_subscription(Float64MultiArray, COMMANDS, self._on_command, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def publish_joints(self) -> None:
        self._node.create_publisher(JointState, "/joint_states", 1)

    def publishers(self) -> int:
        return self._node.count_publishers(COMMANDS)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_command(self, message: Float64MultiArray) -> None:
        self.count += 1


@pytest.fixture
def robot(graph: None) -> Iterator[Commanded]:
    robot = Commanded()
    yield robot
    robot.close()


def test_offline_and_through_ros_agree(
    robot: Commanded, bag: Path, policy: Path, options: ReplayOptions, offline: Witness
):
    through, reached = Witness(), []
    publishers = []

    def progress(done_s: float) -> None:
        reached.append(done_s)
        publishers.append(robot.publishers())

    outcome = replay_through_ros(bag, str(policy), options, through, progress, rate=0.5)

    assert outcome.problems == () and outcome.episodes == len(EPISODES)
    assert [trace.episode for trace in through.traces] == [trace.episode for trace in offline.traces]
    assert_same_answers(offline, through)
    assert all(latency_s > 0.0 for latency_s in outcome.compute_s) and len(outcome.compute_s) > 5
    assert reached == sorted(reached) and reached[-1] == pytest.approx((outcome.end_ns - outcome.start_ns) * 1e-9)
    assert robot.count == 0 and set(publishers) == {0}, "nothing is commanded"
    assert children() == []

    ours, theirs = values(through), values(offline)
    tolerance = SPEED * LATE_S
    for name in ("mae", "mae@1", "rmse", "executed_mae"):
        assert theirs[name] > 2 * tolerance, "or everything would agree"
        assert ours[name] == pytest.approx(theirs[name], abs=tolerance)
    assert ours["coverage"] > 0.8
    for trace in through.traces:
        counted = int(np.sum(trace.ticks.chunks >= 0))
        assert trace.counters["commands"] == pytest.approx(counted, abs=2), "ticks as the node counts them"
        clamped = int(trace.ticks.clamped.any(axis=1).sum())
        assert trace.counters["gate_clamped"] == pytest.approx(clamped, abs=3) and clamped > 5, "and what they became"
        assert all(chunk.begin_ns <= chunk.end_ns <= chunk.took_over_ns for chunk in trace.chunks)


def test_a_player_that_waits_for_nobody_will_do(
    graph: None, bag: Path, policy: Path, options: ReplayOptions, offline: Witness, tmp_path: Path
):
    opened, through = open_bag(bag), Witness()
    node = PolicyNodeProcess(options.parameters, str(policy), "/", tmp_path, autostart=True)
    link = Link("scorer", threading.Event(), check=node.check)
    try:
        heard = Heard(link, node.name)
        builder = TraceBuilder(opened, load_policy(policy, device="cpu"), options)
        link.start()
        with node:
            wait_for(lambda: heard.newest is not None, 60.0, lambda: f"the node{node.last_errors()}")
            player = subprocess.Popen(
                [sys.executable, "-m", "support.ordinary_player", str(bag), "1.0", *INPUTS],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                cwd=tmp_path,
            )
            try:
                replay = ListeningReplay(link, heard, opened, builder, start_s=90.0, idle_s=5.0)
                outcome = replay.run(through)
            finally:
                player.terminate()
                player.wait(timeout=30.0)
    finally:
        link.close()
    assert outcome.episodes == len(EPISODES) and outcome.problems == ()
    assert_same_answers(offline, through)


def test_a_robot_that_is_still_connected_is_refused(robot: Commanded, bag: Path, policy: Path, options: ReplayOptions):
    robot.publish_joints()
    with pytest.raises(ThroughRosError, match="expected nobody else to publish .* /robot on '/joint_states'"):
        replay_through_ros(bag, str(policy), options, Witness())
    assert children() == []


def test_the_end_may_come_at_any_time(graph: None, bag: Path, policy: Path, options: ReplayOptions):
    stop, witness = threading.Event(), Witness()

    def progress(done_s: float) -> None:
        if witness.traces:
            stop.set()  # in the second episode

    with pytest.raises(Interrupted):
        replay_through_ros(bag, str(policy), options, witness, progress, stop=stop)
    assert len(witness.traces) == 1
    assert children() == []


def test_a_node_that_refuses_says_why(graph: None, bag: Path, policy: Path, options: ReplayOptions):
    unknown = dataclasses.replace(options.parameters.policy, device="cuda:77")
    changed = dataclasses.replace(options, parameters=dataclasses.replace(options.parameters, policy=unknown))
    with pytest.raises(ThroughRosError, match="refused to configure.*cuda:77"):
        replay_through_ros(bag, str(policy), changed, Witness())
    assert children() == []


def test_a_bag_without_a_topic_is_refused_before_anything_is_started(
    policy: Path, options: ReplayOptions, tmp_path: Path
):
    blind = record(tmp_path / "blind", 0.5, camera=False)
    with pytest.raises(BagError, match="expected topic '/camera/front/image_raw'"):
        replay_through_ros(blind, str(policy), options, Witness())


def test_commands_are_never_played(bag: Path):
    commands = {COMMANDS: ["std_msgs/msg/Float64MultiArray"]}
    with pytest.raises(ConfigurationError, match="commands a robot"):
        topics_to_play(open_bag(bag), commands, commands=[COMMANDS])
