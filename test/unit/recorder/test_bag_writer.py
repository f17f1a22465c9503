# SPDX-License-Identifier: Apache-2.0
"""Bags as the recorder writes them, read back by rosbags and by this package."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader

from policy_ros.bags import open_bag
from policy_ros.ros.recorder.bag import MIN_FREE_BYTES, BagWriter, RecordError
from policy_ros.ros.recorder.definitions import Definition
from policy_ros.ros.recorder.writing import Record, WriterThread

TYPE, DEFINITION = "std_msgs/msg/Int64", Definition("int64 data\n", "RIHS01_" + 64 * "0")
FOREVER = QosTime(9223372036, 854775807)
LATCHED = Qos(
    QosHistory.UNKNOWN,
    0,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    False,
)
ALL_STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
ALL_KINDS = pytest.mark.parametrize(
    ("storage", "compression"), [("mcap", "none"), ("mcap", "zstd"), ("sqlite3", "none"), ("sqlite3", "zstd")]
)


def message(number: int, size: int = 8) -> bytes:
    return b"\0\1\0\0" + number.to_bytes(8, "little") + bytes(size - 8)


def begin(path: Path, **options: object) -> BagWriter:
    bag = BagWriter(path, **options)
    assert [bag.add_topic(topic, TYPE, DEFINITION, [LATCHED]) for topic in ("/a", "/b")] == [0, 1]
    return bag


def fill(bag: BagWriter, numbers: range, size: int = 8) -> list[tuple[str, int, bytes]]:
    """Write to both topics in turn; what a reader should find."""
    for number in numbers:
        bag.write(number % 2, 1000 + number, message(number, size))
    return [(("/a", "/b")[number % 2], 1000 + number, message(number, size)) for number in numbers]


def read(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, log_ns, bytes(data)) for connection, log_ns, data in reader.messages()]


def read_what_there_is(path: Path) -> list[tuple[str, int, bytes]]:
    bag = open_bag(path)
    return [(each.topic, each.log_ns, bytes(each.data)) for each in bag.messages(list(bag.topics))]


@ALL_KINDS
def test_what_is_written_is_read(tmp_path, storage, compression):
    bag = begin(tmp_path / "bag", storage=storage, compression=compression)
    written = fill(bag, range(100), size=1000)
    bag.close()
    assert read(tmp_path / "bag") == written
    assert read_what_there_is(tmp_path / "bag") == written
    with Reader(tmp_path / "bag") as reader:
        topic = reader.topics["/a"]
        assert (topic.msgtype, topic.msgcount, topic.msgdef.data) == (TYPE, 50, DEFINITION.text)
        assert topic.connections[0].ext.offered_qos_profiles == [LATCHED]
        assert topic.connections[0].digest == DEFINITION.digest
        assert (reader.start_time, reader.end_time) == (1000, 1100)


@ALL_KINDS
def test_a_kill_loses_nothing_that_was_flushed(tmp_path, storage, compression):
    def write_and_die() -> None:
        bag = begin(tmp_path / "bag", storage=storage, compression=compression)
        fill(bag, range(100), size=5000)
        bag.flush()
        fill(bag, range(100, 150), size=5000)
        os.kill(os.getpid(), signal.SIGKILL)

    in_another_process(write_and_die)
    found = read_what_there_is(tmp_path / "bag")
    whole = begin(tmp_path / "whole")
    assert 100 <= len(found) < 150
    assert found == fill(whole, range(150), size=5000)[: len(found)]
    whole.close()


@ALL_STORAGES
def test_a_file_that_cannot_grow_keeps_what_was_flushed(tmp_path, storage):
    failures: list[str] = []

    def write_into_a_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
        writer = WriterThread(lambda: begin(tmp_path / "bag", storage=storage), failures.append)
        number = 0
        while not failures and number < 100:
            writer.put(Record(number % 2, 1000 + number, message(number, 1_000_000)), always=True)
            number += 1
        writer.close()
        assert failures and writer.failure == failures[0] and "writing failed" in writer.failure
        assert not writer.complete and sum(writer.dropped.values()) > 0

    in_another_process(write_into_a_limit, expected=0)
    found = read_what_there_is(tmp_path / "bag")
    assert len(found) >= 8
    assert [log_ns for _, log_ns, _ in found] == list(range(1000, 1000 + len(found)))


def in_another_process(body: Callable[[], None], expected: int = -signal.SIGKILL) -> None:
    """Run and wait; it ends as expected."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == expected


@ALL_STORAGES
def test_a_full_disk_ends_in_a_whole_bag_and_a_clear_reason(tmp_path, storage):
    free_bytes = [MIN_FREE_BYTES * 2]
    ended = threading.Event()
    writer = WriterThread(
        lambda: begin(tmp_path / "bag", storage=storage), lambda _: ended.set(), free_bytes=lambda: free_bytes[0]
    )
    for number in range(10):
        assert writer.put(Record(0, number, message(number)))
    free_bytes[0] = MIN_FREE_BYTES - 1
    assert ended.wait(30.0)
    assert not writer.put(Record(0, 99, message(99)))
    writer.close()
    assert "the disk is full: 64 MB are left" in writer.failure and str(tmp_path / "bag") in writer.failure
    assert writer.complete and writer.dropped == {0: 1}
    assert read(tmp_path / "bag") == [("/a", number, message(number)) for number in range(10)]


class SlowBag(BagWriter):
    """A disk that has to be told to go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write = threading.Event()

    def write(self, topic: int, log_ns: int, data: bytes) -> None:
        self.may_write.wait()
        super().write(topic, log_ns, data)


def test_a_slow_disk_drops_and_counts_what_does_not_fit_but_no_boundary(tmp_path):
    bags: list[SlowBag] = []

    def open_slow() -> SlowBag:
        bag = SlowBag(tmp_path / "bag")
        for topic in ("/a", "/b"):
            bag.add_topic(topic, TYPE, DEFINITION, [])
        bags.append(bag)
        return bag

    writer = WriterThread(open_slow, lambda _: None, budget_bytes=3 * len(message(0)))
    taken = [writer.put(Record(0, number, message(number))) for number in range(5)]
    assert taken == [True, True, True, False, False]
    assert writer.put(Record(1, 5, message(5)), always=True)
    bags[0].may_write.set()
    writer.close()
    assert writer.dropped == {0: 2} and writer.written == {0: 3, 1: 1} and not writer.failure and writer.complete
    assert [(topic, log_ns) for topic, log_ns, _ in read(tmp_path / "bag")] == [
        ("/a", 0),
        ("/a", 1),
        ("/a", 2),
        ("/b", 5),
    ]


@ALL_KINDS
def test_a_bag_of_several_files_is_one_bag(tmp_path, storage, compression):
    bag = begin(tmp_path / "pick", storage=storage, compression=compression, split_bytes=20_000)
    written = []
    for start in range(0, 90, 10):
        for number in range(start, start + 10):
            data = message(number) + os.urandom(1000)
            bag.write(number % 2, 1000 + number, data)
            written.append((("/a", "/b")[number % 2], 1000 + number, data))
        bag.flush()
    bag.close()
    suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    files = sorted(file.name for file in (tmp_path / "pick").glob(f"*.{suffix}"))
    assert len(files) > 3 and files == [f"pick_{number}.{suffix}" for number in range(len(files))]
    assert read(tmp_path / "pick") == written
    assert read_what_there_is(tmp_path / "pick") == written
    with Reader(tmp_path / "pick") as reader:
        assert (reader.message_count, reader.start_time, reader.end_time) == (90, 1000, 1090)
        assert {name: topic.msgcount for name, topic in reader.topics.items()} == {"/a": 45, "/b": 45}
    (tmp_path / "pick" / "metadata.yaml").unlink()
    assert read_what_there_is(tmp_path / "pick") == written


@ALL_STORAGES
def test_a_bag_without_messages_can_be_opened(tmp_path, storage):
    begin(tmp_path / "bag", storage=storage).close()
    assert read(tmp_path / "bag") == []


def test_an_existing_directory_is_refused_and_left_alone(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(RecordError, match="exists; choose another or remove it"):
        BagWriter(tmp_path / "bag")
    assert not list((tmp_path / "bag").iterdir())


def test_an_impossible_place_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be made: Not a directory"):
        BagWriter(tmp_path / "file" / "bag")
