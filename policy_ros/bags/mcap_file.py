# SPDX-License-Identifier: Apache-2.0
"""mcap files, whole or cut off anywhere.

One way of reading for both: the records are walked from the start of the file, chunks skipped over, and the messages of
each chunk taken from the index behind it. The summary at the end, which a killed recorder never wrote, is not needed.
The libraries that read mcap need it, or else read all data from the start each time, and none of them tells the order
of writing, in which a clock that was set back shows.

Files are mapped into memory: pictures of uncompressed chunks are views into the file, never copied.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from policy_ros.bags import mcap_records as mcap
from policy_ros.bags.compression import DecompressionError, decompress, decompressed_message
from policy_ros.bags.errors import BagError
from policy_ros.bags.problems import Problems
from policy_ros.bags.storage import BagMessage, Block, Entry, block_of

_LOOSE_BYTES = 4 << 20  # messages outside of chunks are read together up to this size
_HEAD = mcap.RECORD_HEAD.size
_MESSAGE_HEAD = mcap.MESSAGE_HEAD.size

_Indexed = tuple[Block, list[Entry]]


class _Damaged(Exception):
    """A chunk that is not what it should be; the text says what is wrong."""


class McapFile:
    """See :class:`policy_ros.bags.storage.BagFile`.

    Args:
        path: the file.
        name: what to call it in messages to people.
        problems: where to note what is wrong with it.

    Raises:
        BagError: not an mcap file.
    """

    def __init__(self, path: Path, name: str, problems: Problems) -> None:
        self.types: dict[str, str] = {}
        self.definitions: dict[str, tuple[str, str]] = {}
        self.topics: dict[int, str] = {}  # of channels
        self.path, self.name, self.problems = path, name, problems
        self._schemas: dict[int, str] = {}
        self._foreign: set[int] = set()  # channels of another serialization
        with path.open("rb") as stream:
            magic = stream.read(len(mcap.MAGIC))
        if magic != mcap.MAGIC:
            raise BagError(f"{name}: expected an mcap file, got one that begins with {magic!r}")

    def open(self) -> OpenMcap:
        """Open it for reading blocks."""
        return OpenMcap(self)

    def scan(self) -> Iterator[_Indexed]:
        """All blocks with their messages, in the order of writing; ends where the file is damaged."""
        data = _mapped(self.path)
        at: int | None = len(mcap.MAGIC)
        last = 0
        while at is not None and at < len(data):
            last = at
            at, indexed = self._record(data, at)
            if indexed is not None:
                yield indexed
        if at is not None:  # an end was never reached
            self.problems.add(
                f"{self.name}: expected a whole file, got one that was cut off, with its last record at byte {last} of "
                f"{len(data)} (was the recorder killed?); read as far as it goes"
            )

    def note_damage(self, at: int, damage: Exception) -> None:
        """Note a chunk that cannot be read."""
        self.problems.add(
            f"{self.name}: expected readable messages, got a damaged chunk at byte {at} ({damage}); left out"
        )

    def _record(self, data: memoryview, at: int) -> tuple[int | None, _Indexed | None]:
        """Where the next record begins, None behind the last; and the block that begins here, if one does."""
        beyond = len(data) + 1
        if at + _HEAD > len(data):
            return beyond, None
        kind, size = mcap.RECORD_HEAD.unpack_from(data, at)
        end = at + _HEAD + size
        if kind in (mcap.DATA_END, mcap.FOOTER):
            return None, None
        if kind == mcap.CHUNK:
            return self._chunk(data, at, end)
        if end > len(data) or kind == 0:  # a disk that lost its power may leave zeros
            return beyond, None
        if kind == mcap.MESSAGE:
            return self._loose(data, at)
        if kind in (mcap.SCHEMA, mcap.CHANNEL):
            self._describe(kind, data[at + _HEAD : end])
        return end, None

    def _chunk(self, data: memoryview, at: int, end: int) -> tuple[int, _Indexed | None]:
        indexed, following = _index_behind(data, end)
        entries = self._entries(indexed) if indexed else None
        size = min(end, len(data)) - at
        if entries is None:  # no index, or channels that only the chunk itself describes
            try:
                entries = self._walk(_content(data, at, size))
            except _Damaged as damage:
                self.note_damage(at, damage)
        return following, (block_of(at, size, entries), entries) if entries else None

    def _entries(self, indexed: dict[int, list[tuple[int, int]]]) -> list[Entry] | None:
        """The index in the order of writing; None where it names a channel that was not described yet."""
        entries: list[Entry] = []
        for channel, items in indexed.items():
            topic = self.topics.get(channel)
            if topic is not None:
                entries += [Entry(offset, log_ns, topic) for log_ns, offset in items]
            elif items and channel not in self._foreign:
                return None
        return sorted(entries)

    def _loose(self, data: memoryview, begin: int) -> tuple[int, _Indexed | None]:
        """Messages outside of chunks, as many as are read together."""
        at = begin
        for kind, _, end in mcap.records(data, begin):
            if kind != mcap.MESSAGE or at - begin > _LOOSE_BYTES:
                break
            at = end
        entries = self._walk(data[begin:at])
        return at, (block_of(begin, at - begin, entries), entries) if entries else None

    def _walk(self, records: memoryview) -> list[Entry]:
        """Messages among records, in their order; notes the topics that are described there."""
        entries = []
        for kind, begin, end in mcap.records(records):
            if kind == mcap.MESSAGE and end - begin >= _MESSAGE_HEAD:
                channel, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack_from(records, begin)
                if channel in self.topics:
                    entries.append(Entry(begin - _HEAD, log_ns, self.topics[channel]))
            elif kind in (mcap.SCHEMA, mcap.CHANNEL):
                self._describe(kind, records[begin:end])
        return entries

    def _describe(self, kind: int, record: memoryview) -> None:
        try:
            if kind == mcap.SCHEMA:
                schema = mcap.Schema.parse(record)
                self._schemas[schema.id] = schema.name
                self.definitions[schema.name] = (schema.text, schema.encoding)
            else:
                self._add(mcap.Channel.parse(record))
        except (struct.error, ValueError) as error:
            self.problems.add(f"{self.name}: expected the description of a topic, got a damaged one ({error})")

    def _add(self, channel: mcap.Channel) -> None:
        if channel.encoding != "cdr":
            self._foreign.add(channel.id)
            self.problems.add(
                f"{self.name}: topic '{channel.topic}': expected messages in CDR, got '{channel.encoding}'; left out"
            )
            return
        self.topics[channel.id] = channel.topic
        self.types[channel.topic] = self._schemas.get(channel.schema, "")


class OpenMcap:
    """See :class:`policy_ros.bags.storage.OpenFile`."""

    def __init__(self, file: McapFile) -> None:
        self._file = file
        self._data = _mapped(file.path)

    def close(self) -> None:
        """Let go of the file; messages that were read keep what they need of it."""
        self._data = memoryview(b"")

    def read(self, block: Block, topics: Collection[str]) -> list[BagMessage]:
        """The messages of these topics in the order of writing. What cannot be read becomes a problem of the bag."""
        wanted = {channel: topic for channel, topic in self._file.topics.items() if topic in topics}
        found: list[BagMessage] = []
        try:
            records = _content(self._data, block.at, block.size)
        except _Damaged as damage:
            self._file.note_damage(block.at, damage)
            return found
        for kind, begin, end in mcap.records(records):
            if kind != mcap.MESSAGE or end - begin < _MESSAGE_HEAD:
                continue
            if block.stop is not None and begin - _HEAD >= block.stop:
                break
            channel, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack_from(records, begin)
            topic = wanted.get(channel)
            if topic is None:
                continue
            try:
                data = decompressed_message(records[begin + _MESSAGE_HEAD : end])
            except DecompressionError as error:
                self._note_message(topic, error)
            else:
                found.append(BagMessage(topic, log_ns, data))
        return found

    def _note_message(self, topic: str, error: DecompressionError) -> None:
        self._file.problems.add(
            f"{self._file.name}: topic '{topic}': expected a message compressed by zstd, got a damaged one ({error}); "
            "left out",
            self._file.name,
            topic,
            "damaged message",
        )


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _content(data: memoryview, at: int, size: int) -> memoryview:
    """The records of a block: what a chunk holds, or the messages outside of chunks themselves."""
    record = data[at : at + size]
    kind, whole = mcap.RECORD_HEAD.unpack_from(record)
    if kind != mcap.CHUNK:
        return record
    try:
        head = mcap.ChunkHead.parse(record[_HEAD:])
        compressed = record[_HEAD + head.data_at :][: head.data_size]
        records = decompress(compressed, head.compression, head.size)
    except (struct.error, ValueError, DecompressionError) as error:
        raise _Damaged(str(error)) from error
    if _HEAD + whole > size:
        return records  # cut off: what there is of it
    if len(records) != head.size or (head.crc and zlib.crc32(records) != head.crc):
        raise _Damaged("its checksum or size is wrong")
    return records


def _index_behind(data: memoryview, at: int) -> tuple[dict[int, list[tuple[int, int]]], int]:
    """The message index records behind a chunk by channel, and where they end; none if one of them is damaged."""
    found: dict[int, list[tuple[int, int]]] = {}
    if at > len(data):
        return found, at
    for kind, begin, end in mcap.records(data, at):
        if kind != mcap.MESSAGE_INDEX:
            break
        try:
            channel, items = mcap.message_index(data[begin:end])
        except struct.error:
            return {}, end
        found.setdefault(channel, []).extend(items)
        at = end
    return found, at
