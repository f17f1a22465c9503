# SPDX-License-Identifier: Apache-2.0
"""Bags of recorders that were killed, disks that were full, copies that broke off."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.bags import Recording, image, joint_state, ns, storage_file

from policy_ros.bags import open_bag
from policy_ros.bags.mcap_records import CHUNK, CHUNK_HEAD, DATA_END, MAGIC, MESSAGE, MESSAGE_INDEX, RECORD_HEAD

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (300, 48, 64, 3), dtype=np.uint8)  # not compressible


def record(path: Path, storage: str = "mcap", compression: str | None = None, count: int = 300) -> Path:
    """About 3 MB: several chunks."""
    with Recording(path, storage, compression) as bag:
        for i in range(count):
            bag.add("/joint_states", ns(i * 0.01), joint_state(ns(i * 0.01), ["a", "b"], [i, -i]))
            bag.add("/image", ns(i * 0.01) + 1, image(ns(i * 0.01), PICTURES[i]))
    return path


def contents(path: Path) -> tuple[list[tuple[str, int, bytes]], list[str]]:
    bag = open_bag(path)
    messages = [(m.topic, m.log_ns, bytes(m.data)) for m in bag.messages(bag.topics)]
    return messages, bag.problems


def records(file: Path) -> list[tuple[int, int, int]]:
    """Kind, begin and end of the records of an mcap file."""
    data = file.read_bytes()
    at, found = len(MAGIC), []
    while at < len(data) - len(MAGIC):
        kind, size = RECORD_HEAD.unpack_from(data, at)
        found.append((kind, at, at + RECORD_HEAD.size + size))
        at = found[-1][2]
    return found


@pytest.mark.parametrize("compression", [None, "storage"])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.25, 0.05])
def test_an_mcap_that_was_cut_off_is_read_up_to_the_cut(tmp_path, share, compression):
    path = record(tmp_path / "bag", compression=compression)
    whole, _ = contents(path)
    file = storage_file(path)
    size = os.path.getsize(file)
    os.truncate(file, round(size * share))
    (path / "metadata.yaml").unlink()
    found, problems = contents(path)
    assert found == whole[: len(found)]
    # Of an incomplete compressed chunk only whole compressed blocks can be read.
    assert len(found) >= min(1.0, share) * len(whole) - (2 if compression is None else 40)
    assert any("expected a whole file, got one that was cut off" in text and str(file) in text for text in problems)
    assert any("expected metadata.yaml" in text for text in problems)


def test_an_mcap_that_was_cut_off_at_any_byte_is_never_wrong(tmp_path):
    path = record(tmp_path / "bag", count=12)
    whole, _ = contents(path)
    file = storage_file(path)
    data = file.read_bytes()
    end = next(begin for kind, begin, _ in records(file) if kind == DATA_END)
    for size in sorted({*range(len(MAGIC), 300, 3), *range(300, end, 2999), *range(end - 60, end + 1)}):
        file.write_bytes(data[:size])
        found, problems = contents(path)
        assert found == whole[: len(found)]
        assert any("cut off" in text for text in problems), size
    assert found == whole


def test_an_mcap_without_indices_is_read_by_its_chunks(tmp_path):
    """As recorders write it that were told to save space, and as it is where a chunk is the last thing written."""
    path = record(tmp_path / "bag")
    whole, _ = contents(path)
    file = storage_file(path)
    data = file.read_bytes()
    kept = [data[begin:end] for kind, begin, end in records(file) if kind != MESSAGE_INDEX]
    file.write_bytes(MAGIC + b"".join(kept))
    assert contents(path) == (whole, [])


def test_an_mcap_without_chunks_is_read(tmp_path):
    """As the preset fastwrite of rosbag2_storage_mcap writes it, where the order of writing is not that of log time."""
    path = record(tmp_path / "bag", count=30)
    whole, _ = contents(path)
    file = storage_file(path)
    data = file.read_bytes()
    loose = b""
    for kind, begin, end in records(file):
        if kind == CHUNK:
            at = begin + RECORD_HEAD.size + 28
            (name,) = struct.unpack_from("<I", data, at)
            loose += data[at + 4 + name + 8 : end]
    swapped = _swap_two_messages(loose)
    file.write_bytes(data[: records(file)[0][2]] + swapped + RECORD_HEAD.pack(DATA_END, 4) + bytes(4))
    assert contents(path) == (whole, [])
    os.truncate(file, os.path.getsize(file) - 2000)
    found, problems = contents(path)
    assert found == whole[:-1]
    assert "cut off" in problems[0]


def _swap_two_messages(data: bytes) -> bytes:
    """The third and fourth message record in reverse order; before them, topics are described."""
    at, places = 0, []
    while len(places) < 4:
        kind, size = RECORD_HEAD.unpack_from(data, at)
        if kind == MESSAGE:
            places.append((at, at + RECORD_HEAD.size + size))
        at += RECORD_HEAD.size + size
    *_, (a, b), (c, d) = places
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def test_a_chunk_whose_checksum_is_wrong_is_left_out_and_named(tmp_path):
    path = record(tmp_path / "bag")
    whole, _ = contents(path)
    file = storage_file(path)
    data = bytearray(file.read_bytes())
    chunks = [(begin, end) for kind, begin, end in records(file) if kind == CHUNK]
    assert len(chunks) > 2
    for begin, end in chunks:
        content = begin + RECORD_HEAD.size + CHUNK_HEAD.size + 8
        struct.pack_into("<I", data, begin + RECORD_HEAD.size + 24, zlib.crc32(data[content:end]))
    file.write_bytes(data)
    assert contents(path) == (whole, [])
    begin, end = chunks[1]
    data[(begin + end) // 2] ^= 0xFF
    file.write_bytes(data)
    found, problems = contents(path)
    assert 0 < len(found) < len(whole)
    assert set(found) < set(whole)
    assert any(f"{file}: expected readable messages, got a damaged chunk at byte {begin}" in text for text in problems)


def test_a_chunk_that_cannot_be_decompressed_is_left_out_and_named(tmp_path):
    path = record(tmp_path / "bag", compression="storage")
    whole, _ = contents(path)
    file = storage_file(path)
    data = bytearray(file.read_bytes())
    begin = [begin for kind, begin, _ in records(file) if kind == CHUNK][1]
    data[begin + 60] ^= 0xFF  # in the head of the compressed frame
    file.write_bytes(data)
    found, problems = contents(path)
    assert 0 < len(found) < len(whole)
    assert set(found) < set(whole)
    assert any(f"got a damaged chunk at byte {begin}" in text for text in problems)


def test_zeros_that_a_power_failure_left_end_an_mcap(tmp_path):
    path = record(tmp_path / "bag")
    whole, _ = contents(path)
    file = storage_file(path)
    cut = [begin for kind, begin, _ in records(file) if kind == CHUNK][2]
    file.write_bytes(file.read_bytes()[:cut] + bytes(100_000))
    found, problems = contents(path)
    assert found == whole[: len(found)] and found
    assert any("cut off" in text for text in problems)


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.25])
def test_a_database_that_was_cut_off_is_read_up_to_the_cut(tmp_path, share):
    path = record(tmp_path / "bag", "sqlite3")
    whole, _ = contents(path)
    file = storage_file(path)
    os.truncate(file, round(os.path.getsize(file) * share) | 1)  # in the middle of a page
    found, problems = contents(path)
    assert set(found) <= set(whole)
    assert len(found) >= (share - 0.1) * len(whole)
    assert any(str(file) in text and "damaged" in text for text in problems)


def record_large(path: Path) -> tuple[Path, list[bytes]]:
    """A database of 24 pictures of 120 kB, each on pages of its own, and their bytes."""
    pictures = np.random.default_rng(1).integers(0, 256, (24, 200, 200, 3), dtype=np.uint8)
    with Recording(path, "sqlite3") as bag:
        for i, picture in enumerate(pictures):
            bag.add("/joint_states", ns(i * 0.01), joint_state(ns(i * 0.01), ["a"], [i]))
            bag.add("/image", ns(i * 0.01) + 1, image(ns(i * 0.01), picture))
    return path, [picture.tobytes() for picture in pictures]


def test_a_database_of_large_messages_that_was_cut_off_anywhere_is_never_wrong(tmp_path):
    path, _ = record_large(tmp_path / "bag")
    whole, _ = contents(path)
    file = storage_file(path)
    data = file.read_bytes()
    counts = []
    for size in range(60_000, len(data), 70_001):
        file.write_bytes(data[:size])
        found, problems = contents(path)
        assert found == [message for message in whole if message in set(found)]
        assert any("damaged" in text for text in problems), size
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] >= len(whole) - 4


def test_a_large_message_whose_pages_are_damaged_is_left_out_and_named(tmp_path):
    path, pictures = record_large(tmp_path / "bag")
    whole, _ = contents(path)
    file = storage_file(path)
    data = bytearray(file.read_bytes())
    page = data.index(pictures[7][60_000:60_100]) // 4096 * 4096
    data[page : page + 4] = b"\xff" * 4  # where its next page is
    file.write_bytes(data)
    found, problems = contents(path)
    assert found == whole[:15] + whole[16:]
    (problem,) = problems
    assert problem == (
        f"{file}: topic '/image': expected a readable message, got a damaged one in row 16 "
        "(database disk image is malformed); left out"
    )
    bag = open_bag(path)
    assert len(list(bag.messages(bag.topics, stop_ns=ns(0.06)))) == 12
    assert bag.problems == []  # what nobody asks for is not read


def test_a_database_whose_recorder_was_killed_is_read_with_its_log(tmp_path):
    path = record(tmp_path / "bag", "sqlite3", count=10)
    file = storage_file(path)
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
        data = database.execute("SELECT data FROM messages WHERE topic_id = 1").fetchone()[0]
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", (ns(1.0), data))
        database.commit()
        for each in path.iterdir():  # while it is open: as a kill leaves it
            shutil.copy(each, killed / each.name)
    assert (killed / f"{file.name}-wal").exists()
    found, problems = contents(killed)
    assert len(found) == 21
    assert problems == []


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_compressed_file_that_was_cut_off_is_read_up_to_the_cut(tmp_path, storage):
    path = record(tmp_path / "bag", storage, "file")
    whole, _ = contents(path)
    file = storage_file(path)
    os.truncate(file, os.path.getsize(file) // 2)
    found, problems = contents(path)
    assert set(found) < set(whole)
    assert len(found) > 0.3 * len(whole)
    assert any("expected a whole zstd file" in text for text in problems)


def test_copies_of_compressed_files_go_with_the_bag(tmp_path, monkeypatch):
    path = record(tmp_path / "bag", "mcap", "file", count=3)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    bag = open_bag(path)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    messages = bag.messages(["/joint_states"])
    next(messages)
    del bag
    assert len(list(messages)) == 2  # whoever reads keeps it
    del messages
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_file_that_cannot_be_read_is_left_out_of_a_split_bag(tmp_path):
    path = record(tmp_path / "bag", count=5)
    (path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    (path / "bag_9.mcap").write_bytes(b"")
    found, problems = contents(path)
    assert len(found) == 10
    assert any("metadata.yaml: expected a list of the bag's files" in text for text in problems)
    assert any("bag_9.mcap: expected an mcap file" in text and text.endswith("left out") for text in problems)


# Clocks


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_was_recorded_after_the_clock_was_set_back_is_left_out(tmp_path, storage):
    """Sorted by log time, both runs would mix."""
    path = tmp_path / "bag"
    with Recording(path, storage) as bag:
        for run in range(2):
            for i in range(100):
                bag.add("/joint_states", ns(i * 0.01), joint_state(0, ["a"], [run]))
                bag.add("/image", ns(i * 0.01) + 1, image(0, PICTURES[run]))
    read = open_bag(path)
    joints = [read.deserialize(m) for m in read.messages(["/joint_states"])]
    assert [j.position[0] for j in joints] == [0.0] * 100
    assert len(list(read.messages(["/image"]))) == 100
    (problem,) = read.problems
    assert f"{path}: topic '/joint_states'" in problem
    assert "jump back by 0.990 s after 0.990 s" in problem


def test_the_clock_may_jump_between_the_files_of_a_split_bag(tmp_path):
    for part, begin in enumerate((5.0, 1.0)):
        with Recording(tmp_path / f"part{part}") as bag:
            for i in range(10):
                bag.add("/joint_states", ns(begin + i * 0.1), joint_state(0, ["a"], [part]))
    (tmp_path / "bag").mkdir()
    for part in range(2):
        shutil.copy(storage_file(tmp_path / f"part{part}"), tmp_path / "bag" / f"bag_{part}.mcap")
    read = open_bag(tmp_path / "bag")
    assert [m.log_ns for m in read.messages(read.topics)] == [ns(5.0 + i * 0.1) for i in range(10)]
    assert any("jump back by 4.900 s" in text for text in read.problems)
