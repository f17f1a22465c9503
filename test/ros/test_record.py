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
from rosbags.rosbag2 import Reader
from std_srvs.srv import Trigger
from support.demonstrator import DESCRIPTION, PARAMETERS, Demonstrator
from support.process import note_segments
from support.waiting import BUSY_FACTOR, wait_for

from policy_ros.msg import Episode

COMMAND = [str(Path(sys.prefix) / "bin" / "policy-ros"), "record"]
JOINT_STATES, CAMERA, ARM, GRIPPER = (
    "/joint_states",
    "/camera/front/image_raw",
    "/arm/joint_trajectory",
    "/gripper/commands",
)
STREAMS = (JOINT_STATES, CAMERA, ARM, GRIPPER)
START_S, END_S = 30.0, 20.0


class Recording:
    """A running ``policy-ros record``."""

    def __init__(self, folder: Path, domain_id: int, arguments: tuple[str, ...], parameters: dict[str, object]) -> None:
        file = folder / "robot.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        self.bag = folder / "bag"
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [*COMMAND, "--params-file", str(file), "--out", "bag", "--json", *arguments],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stderr), daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_until_recording(self) -> None:
        wait_for(lambda: "recording into" in self.log or self._process.poll() is not None, START_S, "the start")
        assert self._process.poll() is None, self.log

    def finish(self, number: int | None = signal.SIGINT) -> tuple[int, dict]:
        """Exit status and summary; ``number`` is the signal that ends it, None: it ends by itself."""
        if number is not None:
            self._process.send_signal(number)
        output, _ = self._process.stdout.read(), self._process.wait(END_S * BUSY_FACTOR)
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

    def start(*arguments: str, **changes: object) -> Recording:
        parameters = {**PARAMETERS, **{name.replace("__", "."): value for name, value in changes.items()}}
        started.append(Recording(tmp_path, domain_id, arguments, parameters))
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
    from rclpy.serialization import deserialize_message

    messages = [deserialize_message(data, Episode) for _, data in read(bag)["/episode"]]
    return [(message.index, message.event, message.result, message.task) for message in messages]


@pytest.mark.parametrize(
    ("storage", "compression"), [("mcap", "none"), ("mcap", "zstd"), ("sqlite3", "none"), ("sqlite3", "zstd")]
)
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
