# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests over real DDS: each test has a ROS domain of its own, loopback only."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.checkpoints import CAMERA, JOINTS, retype, write_act
from support.faulty_node import FAULT_FILE
from support.holding import CAMERA_MAX_AGE_S, JOINT_MAX_AGE_S, TAIL_S
from support.process import NodeProcess, remove_noted_segments
from support.robot import FakeRobot
from support.robot_client import PROFILE, RobotClient

# 0 to 101 are usable on all systems.
_DOMAINS = itertools.cycle(range(1, 101))
for _ in range(os.getpid() % 100):
    next(_DOMAINS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under CI a test of this folder that fails is run once more; the summary lists it."""
    if os.environ.get("CI") != "true":
        return
    if not config.pluginmanager.hasplugin("rerunfailures"):
        warnings.warn("CI=true: failing tests are not run again, pytest-rerunfailures is missing", stacklevel=1)
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def _loopback_only_and_nothing_left() -> Iterator[None]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    yield
    remove_noted_segments()


@pytest.fixture
def domain_id() -> Iterator[int]:
    """A domain that no other test on this machine uses meanwhile: an abstract socket of its name is the lock."""
    for domain in itertools.islice(_DOMAINS, 100):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
            try:
                lock.bind(f"\0policy_ros test domain {domain}")
            except OSError:
                continue
            yield domain
            return
    pytest.fail("all 100 ROS domains are in use by other test runs")


@pytest.fixture
def robot(domain_id: int) -> Iterator[FakeRobot]:
    robot = FakeRobot(domain_id)
    yield robot
    robot.close()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_act(tmp_path_factory.mktemp("checkpoint") / "act")


@pytest.fixture
def parameters(checkpoint: Path) -> dict[str, object]:
    """A complete configuration of the fake robot; tests change it."""
    return {
        "policy.path": str(checkpoint),
        "joints.names": list(JOINTS),
        # Wider than the defaults: a busy test machine must not look like a fault.
        "joints.max_age_s": JOINT_MAX_AGE_S,
        f"cameras.{CAMERA}.max_age_s": CAMERA_MAX_AGE_S,
        "observation.tail_s": TAIL_S,
        "execution.heartbeat_timeout_s": 2.0,
        "observation.activation_timeout_s": 5.0,
        "status_rate_hz": 20.0,
        "outputs.arm.type": "joint_trajectory",
        "outputs.arm.topic": "arm/joint_trajectory",
        "outputs.arm.joints": list(JOINTS),
    }


StartNode = Callable[..., NodeProcess]


@pytest.fixture
def start_node(robot: FakeRobot, domain_id: int, parameters: dict[str, object], tmp_path: Path) -> Iterator[StartNode]:
    """Starts the node as a process, with the fixture's parameters and the changes given; ends it after the test."""
    started: list[NodeProcess] = []

    def start(*, process: dict[str, object] | None = None, **changes: object) -> NodeProcess:
        given = {**parameters, **{name.replace("__", "."): value for name, value in changes.items()}}
        started.append(NodeProcess(robot, domain_id, given, tmp_path, **(process or {})))
        return started[-1]

    yield start
    for node in started:
        node.close()


class Fault:
    """Tells the faulty policy what to do from now on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set("")

    def set(self, word: str) -> None:
        self.file.write_text(word)

    def task(self) -> str:
        """The instruction of the newest observation."""
        note = self.file.with_suffix(".task")
        return note.read_text() if note.exists() else ""


@pytest.fixture
def fault(tmp_path: Path) -> Fault:
    return Fault(tmp_path / "fault")


@pytest.fixture
def start_faulty_node(start_node: StartNode, fault: Fault, checkpoint: Path, tmp_path: Path) -> StartNode:
    """Like ``start_node``, with a policy that obeys the ``fault`` fixture."""
    path = retype(checkpoint, tmp_path / "faulty", "faulty")
    process = {"module": "support.faulty_node", "extra_environment": {FAULT_FILE: str(fault.file)}}
    return lambda **changes: start_node(process=process, policy__path=str(path), **changes)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared memory large enough for pictures, in this process and in the bridge's."""
    file = tmp_path / "fastdds.xml"
    file.write_text(PROFILE)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(file))


@pytest.fixture
def client(domain_id: int, profile: None) -> Iterator[RobotClient]:
    client = RobotClient(domain_id)
    yield client
    client.close()


@pytest.fixture
def start_bridge(domain_id: int, profile: None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the bridge with the parameters given, ``__`` for a dot; ends it after the test."""
    started: list[subprocess.Popen] = []

    def start(**parameters: object) -> subprocess.Popen:
        values = {name.replace("__", "."): value for name, value in parameters.items()}
        file = tmp_path / "parameters.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
        command = [sys.executable, "-m", "policy_ros.ros.simulated_robot"]
        if values:
            command += ["--ros-args", "--params-file", str(file)]
        started.append(
            subprocess.Popen(
                command,
                env={**os.environ, "ROS_DOMAIN_ID": str(domain_id), "RCUTILS_LOGGING_USE_STDOUT": "0"},
                cwd=tmp_path,  # not the source tree, which has no messages
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()  # a killed process would leave shared memory behind
        try:
            process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
