# SPDX-License-Identifier: Apache-2.0
"""The records of the mcap format that hold messages and describe their topics; https://mcap.dev/spec."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x89MCAP0\r\n"
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 2, 3, 4, 5, 6, 7, 15

RECORD_HEAD = struct.Struct("<BQ")  # kind, size of the content
MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
CHUNK_HEAD = struct.Struct("<QQQII")  # first and last log time, size, checksum, length of the compression's name
_INDEX_HEAD = struct.Struct("<HI")  # channel, bytes that follow
_INDEX_ITEM = struct.Struct("<QQ")  # log time, offset


def records(buffer: memoryview, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Kind, begin and end of the content of every complete record from ``at`` on."""
    size = len(buffer)
    while at + RECORD_HEAD.size <= size:
        kind, length = RECORD_HEAD.unpack_from(buffer, at)
        begin = at + RECORD_HEAD.size
        at = begin + length
        if at > size:
            return
        yield kind, begin, at


@dataclass(frozen=True)
class ChunkHead:
    """What a chunk's content is, and where within the record it begins."""

    size: int
    crc: int
    compression: str
    data_at: int
    data_size: int

    @classmethod
    def parse(cls, content: memoryview) -> ChunkHead:
        """From the first bytes of the record's content.

        Raises:
            struct.error, ValueError: they are too few, or no chunk's.
        """
        _, _, size, crc, name_size = CHUNK_HEAD.unpack_from(content)
        name = bytes(content[CHUNK_HEAD.size : CHUNK_HEAD.size + name_size])
        at = CHUNK_HEAD.size + name_size
        (data_size,) = struct.unpack_from("<Q", content, at)
        return cls(size, crc, name.decode(), at + 8, data_size)


def message_index(content: memoryview) -> tuple[int, list[tuple[int, int]]]:
    """The channel, and log time and offset of its messages in a chunk, of a message index record.

    Raises:
        struct.error: the record is damaged.
    """
    channel, size = _INDEX_HEAD.unpack_from(content)
    return channel, list(_INDEX_ITEM.iter_unpack(content[_INDEX_HEAD.size : _INDEX_HEAD.size + size]))


@dataclass(frozen=True)
class Schema:
    """A type and its definition; ``encoding`` is ``ros2msg`` or ``ros2idl``."""

    id: int
    name: str
    encoding: str
    text: str

    @classmethod
    def parse(cls, content: memoryview) -> Schema:
        """From the record's content; raises struct.error or ValueError where it is damaged."""
        name, at = _text(content, 2)
        encoding, at = _text(content, at)
        text, _ = _text(content, at)
        return cls(struct.unpack_from("<H", content)[0], name, encoding, text)


@dataclass(frozen=True)
class Channel:
    """A topic; ``encoding`` is that of its messages, ``cdr`` in ROS 2."""

    id: int
    schema: int
    topic: str
    encoding: str

    @classmethod
    def parse(cls, content: memoryview) -> Channel:
        """From the record's content; raises struct.error or ValueError where it is damaged."""
        channel, schema = struct.unpack_from("<HH", content)
        topic, at = _text(content, 4)
        encoding, _ = _text(content, at)
        return cls(channel, schema, topic, encoding)


def _text(content: memoryview, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", content, at)
    end = at + 4 + size
    if end > len(content):
        raise ValueError(f"expected {size} bytes of text, got {len(content) - at - 4}")
    return bytes(content[at + 4 : end]).decode(), end
