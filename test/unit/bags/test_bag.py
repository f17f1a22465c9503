# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from support.bags import ARRAY, IMAGE, JOINT_STATE, Recording, array, image, joint_state, ns, serialized, storage_file

from policy_ros.bags import BagError, MalformedMessage, open_bag

PICTURE = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
STORAGES = ("mcap", "sqlite3")


def record(
    path: Path, storage: str = "mcap", compression: str | None = None, *, begin: int = 0, count: int = 200
) -> Path:
    """Joints at 100 Hz, a camera at every third of them, commands at every second."""
    with Recording(path, storage, compression) as bag:
        for i in range(begin, begin + count):
            t = ns(i * 0.01)
            bag.add("/joint_states", t, joint_state(t, ["a", "b"], [i, -i]))
            if i % 3 == 0:
                bag.add("/camera/top/image_raw", t + 1000, image(t, PICTURE + np.uint8(i % 256)))
            if i % 2 == 0:
                bag.add("/commands", t + 2000, array([i]))
    return path


def record_large(path: Path, storage: str, compression: str | None = None) -> Path:
    """Pictures of 120 kB, which no compression makes smaller, with joints between them."""
    rng = np.random.default_rng(0)
    with Recording(path, storage, compression) as bag:
        for i in range(30):
            bag.add("/joint_states", ns(i * 0.01), joint_state(0, ["a"], [i]))
            picture = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
            bag.add("/camera/top/image_raw", ns(i * 0.01) + 1000, image(0, picture))
    return path


def everything(path: Path) -> list[tuple[str, int, bytes]]:
    bag = open_bag(path)
    return [(m.topic, m.log_ns, bytes(m.data)) for m in bag.messages(bag.topics)]


def by_rosbags(path: Path) -> list[tuple[str, int, bytes]]:
    with AnyReader([path]) as reader:
        return [(connection.topic, log_ns, bytes(data)) for connection, log_ns, data in reader.messages()]


# Whole bags


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", None),
        ("mcap", "storage"),
        ("mcap", "message"),
        ("mcap", "file"),
        ("sqlite3", None),
        ("sqlite3", "message"),
        ("sqlite3", "file"),
    ],
)
def test_every_message_of_a_bag_is_read_as_rosbags_reads_it(tmp_path, storage, compression):
    path = record(tmp_path / "bag", storage, compression)
    messages = everything(path)
    assert len(messages) == 200 + 67 + 100
    assert messages == by_rosbags(path)
    bag = open_bag(path)
    assert bag.problems == []
    assert (bag.start_ns, bag.end_ns) == (ns(0.0), ns(1.99))
    assert {t.name: (t.type, t.count) for t in bag.topics.values()} == {
        "/joint_states": (JOINT_STATE, 200),
        "/camera/top/image_raw": (IMAGE, 67),
        "/commands": (ARRAY, 100),
    }


@pytest.mark.parametrize("storage", STORAGES)
def test_one_file_of_a_bag_is_a_bag(tmp_path, storage):
    path = record(tmp_path / "bag", storage)
    assert everything(storage_file(path)) == everything(path)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_window_holds_its_begin_and_not_its_end(tmp_path, storage):
    bag = open_bag(record(tmp_path / "bag", storage))
    found = bag.messages(["/joint_states"], start_ns=ns(0.5), stop_ns=ns(0.53))
    assert [m.log_ns for m in found] == [ns(0.5), ns(0.51), ns(0.52)]


@pytest.mark.parametrize("compression", [None, "message"])
@pytest.mark.parametrize("storage", STORAGES)
def test_large_messages_are_read_as_rosbags_reads_them(tmp_path, storage, compression):
    """Those that a database spreads over pages; they are looked at when all are read."""
    path = record_large(tmp_path / "bag", storage, compression)
    bag = open_bag(path)
    messages = list(bag.messages(bag.topics))
    assert [(m.topic, m.log_ns, bytes(m.data)) for m in messages] == by_rosbags(path)
    assert len(messages) == 60
    assert bag.problems == []


@pytest.mark.parametrize("end", ["close", "interrupt"])
def test_a_reading_that_is_given_up_closes_the_database(tmp_path, end):
    path = record_large(tmp_path / "bag", "sqlite3")
    bag = open_bag(path)
    messages = bag.messages(bag.topics)
    data = [next(messages).data for _ in range(20)]
    assert str(storage_file(path)) in open_files()
    if end == "close":
        messages.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            messages.throw(KeyboardInterrupt)
    assert str(storage_file(path)) not in open_files()
    assert [bytes(each) for each in data] == [data for _, _, data in by_rosbags(path)[:20]]


def open_files() -> set[str]:
    return {os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}


def test_topics_that_the_bag_does_not_have_are_no_messages(tmp_path):
    assert list(open_bag(record(tmp_path / "bag")).messages(["/nothing"])) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_two_readings_of_one_bag_do_not_disturb_each_other(tmp_path, storage):
    bag = open_bag(record(tmp_path / "bag", storage))
    one, other = bag.messages(["/joint_states"]), bag.messages(["/joint_states"])
    assert [(next(one).log_ns, next(other).log_ns) for _ in range(200)] == [(ns(i * 0.01),) * 2 for i in range(200)]


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_that_were_written_late_come_in_the_order_of_log_time(tmp_path, storage):
    path = tmp_path / "bag"
    with Recording(path, storage) as bag:
        for i in range(50):  # the images of a moment are written 30 ms after its joints
            bag.add("/joint_states", ns(i * 0.01), joint_state(0, ["a"], [i]))
            if i >= 3:
                bag.add("/image", ns((i - 3) * 0.01), image(0, PICTURE))
    read = open_bag(path)
    times = [m.log_ns for m in read.messages(read.topics)]
    assert times == sorted(times)
    assert len(times) == 97
    assert read.problems == []


@pytest.mark.parametrize("storage", STORAGES)
def test_a_split_bag_is_one(tmp_path, storage):
    """Twelve files, so that the order of names is not the order of numbers, overlapping a little in time."""
    whole = tmp_path / "whole"
    whole.mkdir()
    suffix = ".mcap" if storage == "mcap" else ".db3"
    for part in range(12):
        record(tmp_path / f"part{part}", storage, begin=part * 20, count=20)
        shutil.copy(storage_file(tmp_path / f"part{part}"), whole / f"whole_{part}{suffix}")
    times = [log_ns for _, log_ns, _ in everything(whole)]
    assert len(times) == 12 * 20 + 80 + 120
    assert times == sorted(times)
    assert "expected metadata.yaml, got none" in "".join(open_bag(whole).problems)

    names = [f"some/where/whole_{part}{suffix}" for part in range(12)]
    information = {"relative_file_paths": names, "storage_identifier": storage}
    (whole / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    assert open_bag(whole).problems == []
    (whole / f"whole_3{suffix}").unlink()
    bag = open_bag(whole)
    assert len(list(bag.messages(["/joint_states"]))) == 11 * 20
    assert f"missing: whole_3{suffix}" in "".join(bag.problems)


# Types


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_are_deserialized_by_the_definitions_in_the_bag(tmp_path, storage):
    bag = open_bag(record(tmp_path / "bag", storage))
    first = next(bag.messages(["/joint_states"]))
    message = bag.deserialize(first)
    assert message.name == ["a", "b"]
    assert message.position.tolist() == [0.0, 0.0]


def test_a_database_without_definitions_has_those_of_jazzy_and_our_own(tmp_path):
    from support.bags import episode

    path = tmp_path / "bag"
    with Recording(path, "sqlite3") as bag:
        bag.add("/episode", ns(0.0), episode(ns(0.0), 7, 1, task="pick"))
        bag.add("/joint_states", ns(0.0), joint_state(0, ["a"], [1.0]))
    with closing(sqlite3.connect(storage_file(path))) as database, database:  # as recorded by Humble
        database.execute("DROP TABLE message_definitions")
    read = open_bag(path)
    event, joints = (read.deserialize(m) for m in read.messages(read.topics))
    assert (event.index, event.task, joints.position.tolist()) == (7, "pick", [1.0])


def test_a_type_that_nobody_knows_is_an_error_that_names_bag_and_topic(tmp_path):
    path = record(tmp_path / "bag", "sqlite3")
    with closing(sqlite3.connect(storage_file(path))) as database, database:
        database.execute("DROP TABLE message_definitions")
        database.execute("UPDATE topics SET type = 'their_msgs/msg/Secret' WHERE name = '/commands'")
    bag = open_bag(path)
    with pytest.raises(BagError, match=r"bag: topic '/commands': expected a definition of their_msgs/msg/Secret"):
        bag.deserialize(next(bag.messages(["/commands"])))


def test_bytes_that_are_not_of_their_type_are_malformed(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        bag.raw("/joint_states", ns(0.0), JOINT_STATE, serialized(joint_state(1, ["a"], [1.0]))[:20])
    read = open_bag(tmp_path / "bag")
    with pytest.raises(MalformedMessage, match="expected a sensor_msgs/msg/JointState, got 20 bytes"):
        read.deserialize(next(read.messages(read.topics)))


# What is no bag


def test_an_empty_bag_can_be_opened_and_says_so(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        bag.topic("/joint_states", JOINT_STATE)
    read = open_bag(tmp_path / "bag")
    assert list(read.messages(read.topics)) == []
    assert (read.start_ns, read.end_ns) == (0, 0)
    assert "expected messages, got none" in read.problems[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "expected a bag, got nothing there"),
        ("file.txt", b"hello", "expected a bag's directory or a file"),
        ("old.bag", b"#ROSBAG V2.0", "rosbags-convert"),
        ("file.mcap", b"hello, this is text", "expected an mcap file"),
        ("file.mcap", b"", "expected an mcap file"),
        ("file.db3", b"hello, this is text", "expected a sqlite3 file"),
    ],
)
def test_what_is_no_bag_is_refused_with_its_name(tmp_path, name, content, message):
    path = tmp_path / (name or "nothing")
    if name:
        path.write_bytes(content)
    with pytest.raises(BagError, match=message) as error:
        open_bag(path)
    assert str(path) in str(error.value)


def test_a_directory_without_files_of_a_bag_is_refused(tmp_path):
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {relative_file_paths: [bag_0.mcap]}")
    with pytest.raises(BagError, match="got none of them"):
        open_bag(tmp_path)


def test_a_database_of_something_else_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db3")) as database, database:
        database.execute("CREATE TABLE pets (name TEXT)")
    with pytest.raises(BagError, match="expected the tables of a bag"):
        open_bag(tmp_path / "other.db3")
