# SPDX-License-Identifier: Apache-2.0
"""sqlite3 files, whole or damaged: rows are indexed in the order of writing until one cannot be read.

The data of a long row is read when its message's turn comes, straight into the bytes that the message is made of. apsw
and not Python's own ``sqlite3``: its SQLite reads the pages of such a row from the file without keeping them. Mapping
the file costs more than that, since every page has to be mapped anew for the one time that it is looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import apsw

from policy_ros.bags.compression import DecompressionError, decompressed_message
from policy_ros.bags.errors import BagError
from policy_ros.bags.problems import Problems
from policy_ros.bags.storage import BagMessage, Block, Entry, UnreadMessage, block_of
from policy_ros.bags.temporary import TemporaryFolder

_BLOCK_BYTES = 1 << 22  # of what is read with a block
_LONG = 1 << 16  # data of this size and more is read by itself [bytes]
_UNREADABLE = (apsw.Error, UnicodeDecodeError)
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
        except _UNREADABLE as error:
            raise BagError(
                f"{name}: expected the tables of a bag, got a database without readable ones ({error})"
            ) from error

    def open(self) -> OpenSqlite:
        """Open it for reading blocks."""
        return OpenSqlite(self)

    def connect(self) -> apsw.Connection:
        """A connection that reads as much as a damaged file has."""
        # A recorder that was killed may leave messages in a write-ahead log, which an immutable file does not have.
        log = self.path.with_name(self.path.name + "-wal")
        mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
        database = apsw.Connection(
            f"file:{quote(str(self.path.resolve()))}?{mode}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )
        # Without it, SQLite refuses a file that is shorter than its header says. The connection is read-only.
        database.pragma("writable_schema", True)
        return database

    def scan(self) -> Iterator[tuple[Block, list[Entry]]]:
        """All blocks with their messages, in the order of writing; ends where the file is damaged."""
        entries: list[Entry] = []
        size = 0
        with closing(self.connect()) as database:
            for place, log_ns, topic, length in self._rows(database):
                held = min(length, _LONG)
                if entries and size + held > _BLOCK_BYTES:
                    yield _block(entries), entries
                    entries, size = [], 0
                entries.append(Entry(place, log_ns, topic))
                size += held
        if entries:
            yield _block(entries), entries

    def _rows(self, database: apsw.Connection) -> Iterator[tuple[int, int, str, int]]:
        """Row, log time, topic and size of the messages in the order of writing."""
        count = 0
        try:
            for place, log_ns, topic, length in database.execute(
                "SELECT id, timestamp, topic_id, length(data) FROM messages ORDER BY id"
            ):
                if topic in self.topics and isinstance(log_ns, int) and length is not None:
                    yield place, log_ns, self.topics[topic], length
                    count += 1
        except _UNREADABLE as error:
            self.problems.add(
                f"{self.name}: expected a whole database, got one that is damaged after {count} messages ({error}); "
                "read as far as it goes"
            )

    def _read_topics(self, database: apsw.Connection) -> tuple[dict[int, str], dict[str, str]]:
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
        self._blob: apsw.Blob | None = None  # of the long row that was read last

    def close(self) -> None:
        """Close it."""
        self._close_blob()
        self._database.close()

    def read(self, block: Block, topics: Collection[str]) -> list[BagMessage | UnreadMessage]:
        """The messages of these topics in the order of writing. What cannot be read becomes a problem of the bag."""
        numbers = [number for number, topic in self._file.topics.items() if topic in topics]
        stop = block.at + block.size if block.stop is None else block.stop
        condition = f"id >= ? AND id < ? AND topic_id IN ({','.join('?' * len(numbers))}) ORDER BY id"
        values = (block.at, stop, *numbers)
        short = f"CASE WHEN length(data) < {_LONG} THEN data END"
        select = "SELECT id, topic_id, timestamp, {} FROM messages WHERE " + condition
        rows: list[Any] = []
        try:
            rows = self._database.execute(select.format(short), values).fetchall()
        except _UNREADABLE:  # one of them is damaged
            with suppress(*_UNREADABLE):  # here the scan ended too, and said so
                for each in self._database.execute(select.format("NULL"), values):
                    rows.append(each)
        found: list[BagMessage | UnreadMessage] = []
        for row, number, log_ns, data in rows:
            topic = self._file.topics[number]
            message = _Unread(self, row, topic, log_ns) if data is None else self._message(row, topic, log_ns, data)
            if message is not None:
                found.append(message)
        return found

    def read_row(self, row: int, topic: str, log_ns: int) -> BagMessage | None:
        """The message of a row; None where it cannot be read, which becomes a problem of the bag."""
        try:
            data = self._long(row)
        except _UNREADABLE:
            self._close_blob()
            try:
                ((data,),) = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,))
            except _UNREADABLE as error:
                self._note_damage(topic, row, error)
                return None
        return self._message(row, topic, log_ns, data)

    def _long(self, row: int) -> bytes:
        """The data of a row, copied once; a query would put it together in SQLite's memory first."""
        if self._blob is None:
            self._blob = self._database.blob_open("main", "messages", "data", row, False)
        else:
            self._blob.reopen(row)
        return self._blob.read()

    def _close_blob(self) -> None:
        blob, self._blob = self._blob, None
        if blob is not None:
            blob.close(True)  # whatever became of it

    def _message(self, row: int, topic: str, log_ns: int, data: bytes) -> BagMessage | None:
        try:
            return BagMessage(topic, log_ns, decompressed_message(memoryview(data)))
        except DecompressionError as error:
            self._note_damage(topic, row, error)
            return None

    def _note_damage(self, topic: str, row: int, error: Exception) -> None:
        self._file.problems.add(
            f"{self._file.name}: topic '{topic}': expected a readable message, got a damaged one in row {row} "
            f"({error}); left out",
            self._file.name,
            topic,
            "damaged message",
        )


class _Unread(NamedTuple):
    """See :class:`policy_ros.bags.storage.UnreadMessage`."""

    file: OpenSqlite
    row: int
    topic: str
    log_ns: int

    def read(self) -> BagMessage | None:
        """Read it; None where it is damaged."""
        return self.file.read_row(self.row, self.topic, self.log_ns)


def _block(entries: list[Entry]) -> Block:
    first, last = entries[0].place, entries[-1].place
    return block_of(first, last + 1 - first, entries)


def _read_definitions(database: apsw.Connection) -> dict[str, tuple[str, str]]:
    """Definitions by type; bags of Humble and before have none."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'").fetchall():
        return {}
    rows = database.execute("SELECT topic_type, encoded_message_definition, encoding FROM message_definitions")
    return {str(type_): (str(text), str(encoding)) for type_, text, encoding in rows}
