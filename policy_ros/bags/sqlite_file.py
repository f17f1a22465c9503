# SPDX-License-Identifier: Apache-2.0
"""sqlite3 files, whole or damaged: rows are indexed in the order of writing until one cannot be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from policy_ros.bags.compression import DecompressionError, decompressed_message
from policy_ros.bags.errors import BagError
from policy_ros.bags.problems import Problems
from policy_ros.bags.storage import BagMessage, Block, Entry, block_of
from policy_ros.bags.temporary import TemporaryFolder

_BLOCK_BYTES = 1 << 22
# What a query returns of the data itself. Python 3.10 has no other way to it.
_SHORT = "CASE WHEN length(data) < 65536 THEN data END" if hasattr(sqlite3.Connection, "blobopen") else "data"
_MAPPED_BYTES = 1 << 40  # as much as SQLite maps: pages are not copied into its cache
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100


def with_whole_pages(path: Path, folder: TemporaryFolder) -> Path:
    """The file, or a copy without the page that was cut off in the middle: SQLite would read zeros there."""
    with path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or header[: len(_MAGIC)] != _MAGIC:
        return path
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    size = os.path.getsize(path)
    if page_size == 0 or size % page_size == 0:
        return path
    copy = folder.path / path.name
    shutil.copyfile(path, copy)
    os.truncate(copy, size - size % page_size)
    return copy


class SqliteFile:
    """See :class:`policy_ros.bags.storage.BagFile`.

    Args:
        path: the file, of whole pages.
        name: what to call it in messages to people.
        problems: where to note what is wrong with it.

    Raises:
        BagError: not a bag in a database.
    """

    def __init__(self, path: Path, name: str, problems: Problems) -> None:
        self.path, self.name, self.problems = path, name, problems
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
        if magic != _MAGIC:
            raise BagError(f"{name}: expected a sqlite3 file, got one that begins with {magic!r}")
        try:
            with closing(self.connect()) as database:
                self.topics, self.types = self._read_topics(database)
                self.definitions = _read_definitions(database)
        except sqlite3.Error as error:
            raise BagError(
                f"{name}: expected the tables of a bag, got a database without readable ones ({error})"
            ) from error

    def open(self) -> OpenSqlite:
        """Open it for reading blocks."""
        return OpenSqlite(self)

    def connect(self) -> sqlite3.Connection:
        """A connection that reads as much as a damaged file has."""
        # A recorder that was killed may leave messages in a write-ahead log, which an immutable file does not have.
        log = self.path.with_name(self.path.name + "-wal")
        mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
        database = sqlite3.connect(f"file:{quote(str(self.path.resolve()))}?{mode}", uri=True, check_same_thread=False)
        # Without it, SQLite refuses a file that is shorter than its header says. The connection is read-only.
        database.execute("PRAGMA writable_schema=ON")
        database.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
        return database

    def scan(self) -> Iterator[tuple[Block, list[Entry]]]:
        """All blocks with their messages, in the order of writing; ends where the file is damaged."""
        entries: list[Entry] = []
        size = 0
        with closing(self.connect()) as database:
            for place, log_ns, topic, length in self._rows(database):
                if entries and size + length > _BLOCK_BYTES:
                    yield _block(entries), entries
                    entries, size = [], 0
                entries.append(Entry(place, log_ns, topic))
                size += length
        if entries:
            yield _block(entries), entries

    def _rows(self, database: sqlite3.Connection) -> Iterator[tuple[int, int, str, int]]:
        """Row, log time, topic and size of the messages in the order of writing."""
        count = 0
        try:
            for place, log_ns, topic, length in database.execute(
                "SELECT id, timestamp, topic_id, length(data) FROM messages ORDER BY id"
            ):
                if topic in self.topics and isinstance(log_ns, int) and length is not None:
                    yield place, log_ns, self.topics[topic], length
                    count += 1
        except sqlite3.DatabaseError as error:
            self.problems.add(
                f"{self.name}: expected a whole database, got one that is damaged after {count} messages ({error}); "
                "read as far as it goes"
            )

    def _read_topics(self, database: sqlite3.Connection) -> tuple[dict[int, str], dict[str, str]]:
        topics, types = {}, {}
        for number, name, type_, encoding in database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            if encoding == "cdr":
                topics[number], types[name] = name, type_
            else:
                self.problems.add(f"{self.name}: topic '{name}': expected messages in CDR, got '{encoding}'; left out")
        return topics, types


class OpenSqlite:
    """See :class:`policy_ros.bags.storage.OpenFile`."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._database = file.connect()

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def read(self, block: Block, topics: Collection[str]) -> list[BagMessage]:
        """The messages of these topics in the order of writing. What cannot be read becomes a problem of the bag."""
        numbers = [number for number, topic in self._file.topics.items() if topic in topics]
        stop = block.at + block.size if block.stop is None else block.stop
        condition = f"id >= ? AND id < ? AND topic_id IN ({','.join('?' * len(numbers))}) ORDER BY id"
        values = (block.at, stop, *numbers)
        try:
            rows = self._together(condition, values)
        except sqlite3.Error:  # one of them is damaged
            rows = list(self._one_by_one(condition, values))
        found = []
        for row, number, log_ns, data in rows:
            topic = self._file.topics[number]
            try:
                found.append(BagMessage(topic, log_ns, decompressed_message(memoryview(data))))
            except DecompressionError as error:
                self._note_damage(topic, row, error)
        return found

    def _together(self, condition: str, values: tuple[int, ...]) -> list[tuple[int, int, int, bytes]]:
        index = self._database.execute(
            f"SELECT id, topic_id, timestamp, {_SHORT} FROM messages WHERE {condition}", values
        )
        return [
            (row, number, log_ns, self._long(row) if data is None else data)
            for row, number, log_ns, data in index.fetchall()
        ]

    def _long(self, row: int) -> bytes:
        """The data of a row, copied once; a query would put it together in SQLite's memory first."""
        database: Any = self._database  # the types are those of Python 3.10
        with database.blobopen("messages", "data", row, readonly=True) as blob:
            data: bytes = blob.read()
        return data

    def _one_by_one(self, condition: str, values: tuple[int, ...]) -> Iterator[tuple[int, int, int, bytes]]:
        index = self._database.execute(f"SELECT id, topic_id, timestamp FROM messages WHERE {condition}", values)
        for row, number, log_ns in index.fetchall():
            try:
                (data,) = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
                yield row, number, log_ns, data
            except sqlite3.DatabaseError as error:
                self._note_damage(self._file.topics[number], row, error)

    def _note_damage(self, topic: str, row: int, error: Exception) -> None:
        self._file.problems.add(
            f"{self._file.name}: topic '{topic}': expected a readable message, got a damaged one in row {row} "
            f"({error}); left out",
            self._file.name,
            topic,
            "damaged message",
        )


def _block(entries: list[Entry]) -> Block:
    first, last = entries[0].place, entries[-1].place
    return block_of(first, last + 1 - first, entries)


def _read_definitions(database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Definitions by type; bags of Humble and before have none."""
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'message_definitions'").fetchone()
    if not tables:
        return {}
    rows: list[tuple[Any, Any, Any]] = database.execute(
        "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
    ).fetchall()
    return {str(type_): (str(text), str(encoding)) for type_, text, encoding in rows}
