# SPDX-License-Identifier: Apache-2.0
"""mcap files, whole or cut off anywhere.

One way of reading for both: the records are walked from the start of the file, chunks skipped over, and the messages of
each chunk taken from the index behind it. The summary at the end, which a killed recorder never wrote, is not needed.
The libraries that read mcap need it, or else read all data from the start each time, and none of them tells the order
of writing, in which a clock that was set back shows.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from policy_ros.bags import mcap_records as mcap
from policy_ros.bags.compression import DecompressionError, decompress, decompressed_message
from policy_ros.bags.errors import BagError
from policy_ros.bags.problems import Problems
from policy_ros.bags.storage import BagMessage, Block, Entry, block_of

_LOOSE_BYTES = 4 << 20  # messages outside of chunks are read together up to this size
_CHUNK_HEAD_BYTES = 64  # more than any chunk's
_HEAD = mcap.RECORD_HEAD.size


class _Damaged(Exception):
    """A record that is not what it should be; the text says what was wrong."""


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

    def scan(self) -> Iterator[tuple[Block, list[Entry]]]:
        """All blocks with their messages, in the order of writing; ends where the file is damaged."""
        end = os.path.getsize(self.path)
        with self.path.open("rb") as stream:
            at = len(mcap.MAGIC)
            while at is not None and at < end:
                following, block = self._record(stream, at, end)
                if block:
                    yield block
                if following is None:
                    return
                if following > end:
                    self._note_cut(at, end)
                    return
                at = following
            self._note_cut(at, end)

    def _note_cut(self, at: int, end: int) -> None:
        self.problems.add(
            f"{self.name}: expected a whole file, got one that was cut off, with its last record at byte {at} of {end} "
            "(was the recorder killed?); read as far as it goes"
        )

    def _record(self, stream: BinaryIO, at: int, end: int) -> tuple[int | None, tuple[Block, list[Entry]] | None]:
        """Where the next record begins, None after the last one; and the block, if this begins one."""
        stream.seek(at)
        head = stream.read(_HEAD)
        if len(head) < _HEAD:
            return end + 1, None
        kind, size = mcap.RECORD_HEAD.unpack(head)
        if kind in (mcap.DATA_END, mcap.FOOTER):
            return None, None
        if kind == mcap.CHUNK:
            return self._chunk(stream, at, at + _HEAD + size, end)
        if kind == mcap.MESSAGE:
            return self._loose(stream, at, end)
        if kind in (mcap.SCHEMA, mcap.CHANNEL) and at + _HEAD + size <= end:
            self._describe(kind, memoryview(stream.read(size)))
        elif kind == 0:  # a disk that lost power may leave zeros
            return end + 1, None
        return at + _HEAD + size, None

    def _chunk(
        self, stream: BinaryIO, at: int, record_end: int, end: int
    ) -> tuple[int | None, tuple[Block, list[Entry]] | None]:
        indexed, following = self._index_behind(stream, record_end, end)
        entries = self._entries(indexed) if indexed else None
        size = min(record_end, end) - at
        if entries is None:  # no index, or channels that only the chunk itself describes
            try:
                entries = self._walk(content(stream, at, size))
            except _Damaged as damage:
                self.note_damage(at, damage)
                entries = []
        return following, (block_of(at, size, entries), entries) if entries else None

    def _index_behind(self, stream: BinaryIO, at: int, end: int) -> tuple[dict[int, list[tuple[int, int]]], int]:
        """The message index records behind a chunk by channel, and where they end. Damaged ones are left out."""
        found: dict[int, list[tuple[int, int]]] = {}
        stream.seek(at)
        while at < end and len(head := stream.read(_HEAD)) == _HEAD:
            kind, size = mcap.RECORD_HEAD.unpack(head)
            if kind != mcap.MESSAGE_INDEX or at + _HEAD + size > end:
                break
            try:
                channel, items = mcap.message_index(memoryview(stream.read(size)))
            except struct.error:
                return {}, at + _HEAD + size
            found.setdefault(channel, []).extend(items)
            at += _HEAD + size
        return found, at

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

    def _loose(self, stream: BinaryIO, at: int, end: int) -> tuple[int | None, tuple[Block, list[Entry]] | None]:
        """Messages outside of chunks, as many as are read together."""
        begin, entries = at, []
        while at - begin < _LOOSE_BYTES:
            stream.seek(at)
            head = stream.read(_HEAD + mcap.MESSAGE_HEAD.size)
            if len(head) < len(mcap.MAGIC) + 1 or len(head) < _HEAD:
                break
            kind, size = mcap.RECORD_HEAD.unpack_from(head)
            if kind != mcap.MESSAGE or at + _HEAD + size > end or len(head) < _HEAD + mcap.MESSAGE_HEAD.size:
                break
            channel, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack_from(head, _HEAD)
            if channel in self.topics:
                entries.append(Entry(at - begin, log_ns, self.topics[channel]))
            at += _HEAD + size
        if at == begin:
            return end + 1, None
        return at, (block_of(begin, at - begin, entries), entries) if entries else None

    def _walk(self, buffer: memoryview) -> list[Entry]:
        """Messages of a chunk, from the chunk itself; notes the topics that it describes."""
        entries = []
        for kind, begin, stop in mcap.records(buffer):
            if kind == mcap.MESSAGE and stop - begin >= mcap.MESSAGE_HEAD.size:
                channel, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack_from(buffer, begin)
                if channel in self.topics:
                    entries.append(Entry(begin - _HEAD, log_ns, self.topics[channel]))
            elif kind in (mcap.SCHEMA, mcap.CHANNEL):
                self._describe(kind, buffer[begin:stop])
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

    def note_damage(self, at: int, damage: Exception) -> None:
        """Note a chunk that cannot be read."""
        self.problems.add(
            f"{self.name}: expected readable messages, got a damaged chunk at byte {at} ({damage}); left out"
        )


class OpenMcap:
    """See :class:`policy_ros.bags.storage.OpenFile`."""

    def __init__(self, file: McapFile) -> None:
        self._file = file
        self._stream = file.path.open("rb")

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def read(self, block: Block, topics: Collection[str]) -> list[BagMessage]:
        """The messages of these topics in the order of writing. What cannot be read becomes a problem of the bag."""
        wanted = {channel: topic for channel, topic in self._file.topics.items() if topic in topics}
        stop_at = block.stop
        found: list[BagMessage] = []
        try:
            buffer = content(self._stream, block.at, block.size)
        except _Damaged as damage:
            self._file.note_damage(block.at, damage)
            return []
        for kind, begin, stop in mcap.records(buffer):
            if kind != mcap.MESSAGE or stop - begin < mcap.MESSAGE_HEAD.size:
                continue
            if stop_at is not None and begin - _HEAD >= stop_at:
                break
            channel, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack_from(buffer, begin)
            topic = wanted.get(channel)
            if topic is None:
                continue
            try:
                data = decompressed_message(buffer[begin + mcap.MESSAGE_HEAD.size : stop])
            except DecompressionError as error:
                self._file.problems.add(
                    f"{self._file.name}: topic '{topic}': expected a zstd-compressed message, got a damaged one "
                    f"({error}); left out",
                    self._file.name,
                    topic,
                    "damaged message",
                )
                continue
            found.append(BagMessage(topic, log_ns, data))
        return found


def content(stream: BinaryIO, at: int, size: int) -> memoryview:
    """The records of a block: what a chunk holds, or the messages outside of chunks themselves."""
    stream.seek(at)
    record = memoryview(stream.read(size))
    if not record or record[0] != mcap.CHUNK:
        return record
    _, whole = mcap.RECORD_HEAD.unpack_from(record)
    try:
        head = mcap.ChunkHead.parse(record[_HEAD:])
        data = record[_HEAD + head.data_at :][: head.data_size]
        buffer = decompress(data, head.compression, head.size)
    except (struct.error, ValueError, DecompressionError) as error:
        raise _Damaged(str(error)) from error
    if _HEAD + whole > size:
        return buffer  # cut off: what there is of it
    if len(buffer) != head.size or (head.crc and zlib.crc32(buffer) != head.crc):
        raise _Damaged("its checksum or size is wrong")
    return buffer
