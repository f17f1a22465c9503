# SPDX-License-Identifier: Apache-2.0
"""``policy-ros record`` as a process over real DDS; what it wrote is read back and compared with what was published."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from support.demonstrator import DESCRIPTION, PARAMETERS, Demonstrator
from support.process import note_segments
from support.waiting import BUSY_FACTOR, wait_for

from policy_ros.bags import cdr, find_episodes, open_bag
from policy_ros.msg import Episode
from policy_ros.ros.convert import stamp_to_ns

COMMAND = [str(Path(sys.prefix) / "bin" / "policy-ros"), "record"]
JOINT_STATES, CAMERA, ARM, GRIPPER = (
    "/joint_states",
    "/camera/front/image_raw",
    "/arm/joint_trajectory",
    "/gripper/commands",
)
LEADER = "/leader/joint_states"
STREAMS = (JOINT_STATES, CAMERA, ARM, GRIPPER)
START_S, END_S = 30.0, 20.0


class Recording:
    """A running ``policy-ros record``."""

    def __init__(
        self,
        folder: Path,
        domain_id: int,
        arguments: tuple[str, ...],
        parameters: dict[str, object],
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        file = folder / "robot.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        self.bag = folder / "bag"
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [*COMMAND, "--params-file", str(file), "--out", "bag", "--json", *arguments],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stderr), daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        """All that was told, stdout aside."""
        return "".join(self._lines)

    @property
    def size_bytes(self) -> int:
        """Of the bag so far."""
        return sum(file.stat().st_size for file in self.bag.glob("bag*"))

    def wait_until_recording(self) -> None:
        wait_for(lambda: "recording into" in self.log or self._process.poll() is not None, START_S, "the start")
        assert self._process.poll() is None, self.log

    def finish(self, number: int | None = signal.SIGINT) -> tuple[int, dict]:
        """Exit status and summary; ``number`` is the signal that ends it, None: it ends by itself."""
        if number is not None:
            self._process.send_signal(number)
        self._process.wait(END_S * BUSY_FACTOR)  # what it prints then fits into the pipe
        output = self._process.stdout.read()
        self._reader.join()
        return self._process.returncode, json.loads(output) if output else {}

    def kill(self) -> None:
        note_segments(self._process.pid)
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._reader.join()
        self._process.stdout.close()
        self._process.stderr.close()


Record = Callable[..., Recording]


@pytest.fixture
def record(domain_id: int, tmp_path: Path) -> Iterator[Record]:
    """Starts a recording with these arguments, and parameters that differ from the demonstrator's."""
    started: list[Recording] = []

    def start(*arguments: str, stdin: int = subprocess.DEVNULL, **changes: object) -> Recording:
        parameters = {**PARAMETERS, **{name.replace("__", "."): value for name, value in changes.items()}}
        started.append(Recording(tmp_path, domain_id, arguments, parameters, stdin))
        return started[-1]

    yield start
    for recording in started:
        recording.close()


@pytest.fixture
def demonstrate(domain_id: int) -> Iterator[Callable[..., Demonstrator]]:
    started: list[Demonstrator] = []

    def start(**options: bool) -> Demonstrator:
        started.append(Demonstrator(domain_id, **options))
        return started[-1]

    yield start
    for demonstrator in started:
        demonstrator.close()


@pytest.fixture
def demonstrator(demonstrate: Callable[..., Demonstrator]) -> Demonstrator:
    return demonstrate()


def call(demonstrator: Demonstrator, name: str) -> Trigger.Response:
    client = demonstrator.node.create_client(Trigger, f"/policy_recorder/{name}")
    wait_for(client.service_is_ready, START_S, f"service {name}")
    future = client.call_async(Trigger.Request())
    wait_for(future.done, 10.0, f"an answer of {name}")
    return future.result()


def publish_more(demonstrator: Demonstrator, count: int = 20) -> None:
    """Wait until so many joint states were published from now on."""
    before = len(demonstrator.published[JOINT_STATES])
    wait_for(lambda: len(demonstrator.published[JOINT_STATES]) >= before + count, 10.0, "more messages")


def read(bag: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Log time and message, by topic, in the order of the bag."""
    messages: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    with Reader(bag) as reader:
        for connection, log_ns, data in reader.messages():
            messages[connection.topic].append((log_ns, bytes(data)))
    return messages


def assert_uninterrupted(recorded: list[tuple[int, bytes]], published: list[bytes]) -> None:
    """What was recorded is a stretch of what was published, byte for byte and without a gap."""
    sent = [padded(message) for message in published]
    data = [message for _, message in recorded]
    first = sent.index(data[0])
    assert data == sent[first : first + len(data)]


def padded(message: bytes) -> bytes:
    """As it travels: RTPS fills up to a multiple of four bytes."""
    return message + bytes(-len(message) % 4)


def events(bag: Path) -> list[tuple[int, int, int, str]]:
    """Index, event, result and task."""
    messages = [deserialize_message(data, Episode) for _, data in read(bag)["/episode"]]
    return [(message.index, message.event, message.result, message.task) for message in messages]


@pytest.mark.parametrize(("storage", "compression"), [("mcap", "none"), ("sqlite3", "zstd")])
def test_every_message_is_recorded_byte_for_byte(demonstrator, record, storage, compression):
    recording = record("--continuous", "--storage", storage, "--compression", compression)
    recording.wait_until_recording()
    publish_more(demonstrator, 50)
    status, summary = recording.finish()
    assert status == 0, recording.log
    bag = read(recording.bag)
    assert set(bag) == {*STREAMS, "/robot_description"}
    for topic in STREAMS:
        assert_uninterrupted(bag[topic], demonstrator.published[topic])
        assert summary["topics"][topic]["count"] == len(bag[topic])
    assert len(bag[JOINT_STATES]) >= 50
    assert DESCRIPTION.encode() in bag["/robot_description"][0][1]
    assert summary["dropped"] == 0 and summary["complete"] and summary["ended_by"] == "a signal"


def test_services_bound_episodes_and_nothing_is_recorded_between_them(demonstrator, record):
    recording = record("--task", "pick it up")
    recording.wait_until_recording()
    assert not call(demonstrator, "stop_episode").success, "none is running"
    for number in range(3):
        publish_more(demonstrator)
        assert call(demonstrator, "start_episode").success
        refused = call(demonstrator, "start_episode")
        assert not refused.success and f"episode {number} is running" in refused.message
        publish_more(demonstrator)
        assert call(demonstrator, "stop_episode").success
    assert call(demonstrator, "discard_episode").message == "episode 2 discarded"
    assert not call(demonstrator, "discard_episode").success, "only the last one can be discarded"
    status, summary = recording.finish(signal.SIGTERM)
    assert status == 0, recording.log
    assert summary["episodes"] == {"kept": 2, "discarded": 1, "unknown": 2, "success": 0, "failure": 0}

    task = "pick it up"
    boundaries = [
        (index, event, Episode.UNKNOWN, task) for index in range(3) for event in (Episode.STARTED, Episode.ENDED)
    ]
    assert events(recording.bag) == [*boundaries, (2, Episode.DISCARDED, Episode.UNKNOWN, task)]
    bag = read(recording.bag)
    times = [log_ns for log_ns, _ in bag["/episode"]]
    spans = list(zip(times[0:6:2], times[1:6:2], strict=True))
    for topic in (JOINT_STATES, CAMERA):
        assert all(any(start <= log_ns <= stop for start, stop in spans) for log_ns, _ in bag[topic])
    for start, stop in spans:
        inside = [message for message in bag[JOINT_STATES] if start <= message[0] <= stop]
        assert_uninterrupted(inside, demonstrator.published[JOINT_STATES])
        # The commands that hold when an episode starts are there, with the time they came at.
        assert [log_ns for log_ns, _ in bag[GRIPPER] if start - 1_000_000_000 < log_ns < start]


def test_following_the_topic_of_episodes_ends_after_so_many(demonstrator, record):
    demonstrator.referee()
    recording = record("--follow-episodes", "--episodes", "2")
    recording.wait_until_recording()
    demonstrator.say(6, Episode.ENDED, Episode.SUCCESS)  # its start came before the recording
    for index, result in ((7, Episode.FAILURE), (8, Episode.UNKNOWN), (9, Episode.SUCCESS)):
        demonstrator.say(index, Episode.STARTED, task="stack")
        publish_more(demonstrator)
        event = Episode.DISCARDED if index == 8 else Episode.ENDED
        demonstrator.say(index, event, result)
    demonstrator.say(10, Episode.STARTED)
    status, summary = recording.finish(None)
    assert status == 0, recording.log
    assert summary["episodes"] == {"kept": 2, "discarded": 1, "unknown": 0, "success": 1, "failure": 1}
    assert [event[:2] for event in events(recording.bag)] == [
        (7, Episode.STARTED),
        (7, Episode.ENDED),
        (8, Episode.STARTED),
        (8, Episode.DISCARDED),
        (9, Episode.STARTED),
        (9, Episode.ENDED),
    ]
    assert_uninterrupted(read(recording.bag)["/episode"], demonstrator.published["/episode"][1:-1])


def test_what_was_recorded_until_a_kill_is_readable(demonstrator, record):
    recording = record()
    recording.wait_until_recording()
    assert call(demonstrator, "start_episode").success
    empty = recording.size_bytes
    wait_for(lambda: recording.size_bytes > empty + 50_000, 10.0, "something on the disk")
    publish_more(demonstrator, 100)
    recording.kill()

    bag = open_bag(recording.bag)
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for message in bag.messages(list(bag.topics)):
        found[message.topic].append((message.log_ns, bytes(message.data)))
    assert len(found[JOINT_STATES]) >= 50
    for topic in STREAMS[:2]:
        assert_uninterrupted(found[topic], demonstrator.published[topic])
    (episode,) = find_episodes(bag)
    assert episode.index == 0 and any("expected an end of episode 0" in problem for problem in bag.problems)


def test_an_episode_that_runs_at_the_end_is_ended(demonstrator, record):
    recording = record()
    recording.wait_until_recording()
    assert call(demonstrator, "start_episode").success
    publish_more(demonstrator)
    status, summary = recording.finish()
    assert status == 0, recording.log
    assert [event[:3] for event in events(recording.bag)] == [
        (0, Episode.STARTED, Episode.UNKNOWN),
        (0, Episode.ENDED, Episode.UNKNOWN),
    ]
    assert any("episode 0 was running at the end" in problem for problem in summary["problems"])


def test_it_does_not_start_without_every_topic_and_joint(demonstrate, record, tmp_path):
    demonstrator = demonstrate(camera=False, commands=False)
    demonstrator.node.create_publisher(CompressedImage, "camera/wrist", 1)
    demonstrator.node.create_publisher(Image, "camera/top", 1)
    recording = record(
        *("--timeout", "3", "--extra-topic", "wheels"),
        joints__names=["shoulder", "elbow", "gripper", "tail"],
        outputs__gripper__joints=["gripper", "tail"],
        cameras__wrist__topic="camera/wrist",
        cameras__top__topic="camera/top",
    )
    status, _ = recording.finish(None)
    assert status == 2
    for expected in (
        "joint 'tail' never came on '/joint_states' (1 publisher)",
        "camera/front never came on '/camera/front/image_raw' (no publisher)",
        "camera/top never came on '/camera/top' (1 publisher)",
        "camera/wrist never came on '/camera/wrist' (1 publisher): expected sensor_msgs/msg/Image, "
        "somebody publishes sensor_msgs/msg/CompressedImage; correct the configuration",
        "output arm: expected a publisher on '/arm/joint_trajectory', got none",
        "output gripper: expected a publisher on '/gripper/commands', got none",
        "extra wheels: expected a publisher on '/wheels', got none",
    ):
        assert expected in recording.log
    assert not recording.bag.exists()


def test_a_leader_arm_and_further_topics_are_recorded_with_the_qos_they_are_offered_with(demonstrate, record):
    demonstrator = demonstrate(commands=False, leader=True)
    recording = record("--continuous", "--action-topic", "leader/joint_states", "--extra-topic", "rosout")
    recording.wait_until_recording()
    publish_more(demonstrator)
    status, summary = recording.finish()
    assert status == 0, recording.log
    assert set(summary["topics"]) == {JOINT_STATES, CAMERA, LEADER, "/rosout", "/robot_description"}
    graph = {
        name: demonstrator.node.get_publishers_info_by_topic(name)[0]
        for name in (JOINT_STATES, CAMERA, LEADER, "/robot_description")
    }
    with Reader(recording.bag) as reader:
        for name, info in graph.items():
            topic = reader.topics[name].connections[0]
            assert topic.digest == str(info.topic_type_hash)
            (offer,) = topic.ext.offered_qos_profiles
            assert offer.reliability.name == info.qos_profile.reliability.name
            assert offer.durability.name == info.qos_profile.durability.name


def test_a_changed_image_size_and_a_silent_camera_are_told(demonstrator, record):
    recording = record("--continuous")
    recording.wait_until_recording()
    demonstrator.image_size = (46, 62)
    wait_for(lambda: "the image size changed from 31x23 to 62x46" in recording.log, 10.0, "the warning")
    demonstrator.camera_on = False
    wait_for(lambda: f"'{CAMERA}': silent" in recording.log, 10.0, "the other warning")
    status, summary = recording.finish()
    assert status == 0 and len(summary["problems"]) == 2


def test_simulated_time_is_log_time_and_must_not_go_back(demonstrate, record):
    demonstrator = demonstrate(simulated_time=True)
    recording = record("--continuous", use_sim_time=True)
    recording.wait_until_recording()
    publish_more(demonstrator)
    demonstrator.clock_ns = 1_000_000_000
    status, summary = recording.finish(None)
    assert status == 1 and "simulated time went back by" in summary["failure"]
    times = [log_ns for log_ns, _ in read(recording.bag)[JOINT_STATES]]
    assert times == sorted(times) and times[0] > 1_000_000_000 and times[-1] < 1_000_000_000_000


def test_keys_of_a_terminal_bound_episodes(demonstrator, record):
    terminal, stdin = os.openpty()
    try:
        recording = record(stdin=stdin)
        recording.wait_until_recording()
        for keys, answer in (
            (" ", "episode 0 started"),
            ("s", "episode 0 ended: success"),
            (" ", "episode 1 started"),
            ("x", "space: start/stop"),
            ("f", "episode 1 ended: failure"),
            (" ", "episode 2 started"),
            (" ", "episode 2 ended: unknown"),
            ("\x7f", "episode 2 discarded"),
            ("s", "no episode is running"),
        ):
            os.write(terminal, keys.encode())
            wait_for(lambda answer=answer: answer in recording.log, 10.0, answer)
        os.write(terminal, b"q")
        status, summary = recording.finish(None)
    finally:
        os.close(terminal)
        os.close(stdin)
    assert status == 0 and summary["ended_by"] == "key q"
    assert summary["episodes"] == {"kept": 2, "discarded": 1, "unknown": 0, "success": 1, "failure": 1}
    assert [event[1:3] for event in events(recording.bag) if event[0] < 2] == [
        (Episode.STARTED, Episode.UNKNOWN),
        (Episode.ENDED, Episode.SUCCESS),
        (Episode.STARTED, Episode.UNKNOWN),
        (Episode.ENDED, Episode.FAILURE),
    ]


def test_every_picture_of_the_simulated_robot_is_recorded_or_counted_as_lost(demonstrate, domain_id, record, tmp_path):
    demonstrator = demonstrate(camera=False)  # commands only
    demonstrator.joints_on = False
    counts: list[tuple[int, dict[str, int]]] = []  # when the robot counted, and what it had published

    def on_diagnostics(message: DiagnosticArray) -> None:
        values = {value.key: value.value for value in message.status[0].values}
        published = {camera: int(values[f"camera.{camera}.published"]) for camera in ("top", "wrist")}
        counts.append((stamp_to_ns(message.header.stamp), published))

    demonstrator.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "RCUTILS_LOGGING_USE_STDOUT": "0"}
    robot = subprocess.Popen([COMMAND[0], "sim"], env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        recording = record(
            *("--continuous", "--timeout", "60"),
            joints__names=["joint1", "joint2", "joint3", "gripper_joint"],
            outputs__arm__joints=["joint1", "joint2", "joint3"],
            outputs__gripper__joints=["gripper_joint"],
            cameras__front__topic="camera/top/image_raw",
            cameras__wrist__topic="camera/wrist/image_raw",
        )
        recording.wait_until_recording()
        before = len(counts)
        wait_for(lambda: len(counts) >= before + 6, 15.0, "five seconds")
        status, summary = recording.finish()
    finally:
        robot.terminate()
        robot.wait(30.0)
    assert status == 0, recording.log
    assert summary["topics"]["/camera/top/image_raw"]["bytes"] > 20 * 640 * 480 * 3
    bag = read(recording.bag)
    images = cdr.ImageReader()
    for camera in ("top", "wrist"):
        topic = f"/camera/{camera}/image_raw"
        stamps = [images.read(data)[0] for _, data in bag[topic]]
        within = [
            count for count in counts[before + 1 :] if count[0] < stamps[-1]
        ]  # it may have been behind at the end
        (start_ns, first), (stop_ns, last) = within[0], within[-1]
        assert start_ns < stop_ns, "the recorder kept up for a second"
        missing = last[camera] - first[camera] - sum(start_ns < stamp <= stop_ns for stamp in stamps)
        # The robot counts a moment before or after the stamp. A starved recorder may lose some, but knows it.
        assert -1 <= missing <= 1 + summary["topics"][topic]["lost"], summary
