# SPDX-License-Identifier: Apache-2.0
"""What the files of a bag have in common: blocks of messages, indexed once in the order of writing, read at will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: its name, its type as in ``sensor_msgs/msg/Image``, and how many messages can be read."""

    name: str
    type: str
    count: int | None = None


class BagMessage(NamedTuple):
    """One recorded message.

    Attributes:
        topic: its topic.
        log_ns: when it was recorded [ns].
        data: serialized as CDR; may be a view into a larger buffer, which it keeps alive.
    """

    topic: str
    log_ns: int
    data: bytes | memoryview


class UnreadMessage(Protocol):
    """One recorded message whose data is read when its turn comes, from a file that is still open."""

    @property
    def log_ns(self) -> int:
        """When it was recorded [ns]."""

    def read(self) -> BagMessage | None:
        """Read it; None where it cannot be, which becomes a problem of the bag."""


class Entry(NamedTuple):
    """Where a message lies within its block: a byte offset or a row."""

    place: int
    log_ns: int
    topic: str


@dataclass(frozen=True)
class Block:
    """Messages that are read together: a chunk of an mcap file, or some rows of a database.

    Attributes:
        at: where in the file it begins.
        size: how much of the file it takes.
        start_ns: log time of its earliest message.
        end_ns: log time of its latest message.
        counts: topic to number of messages.
        stop: messages at this place or after it are left out.
    """

    at: int
    size: int
    start_ns: int
    end_ns: int
    counts: Mapping[str, int]
    stop: int | None = None


def block_of(at: int, size: int, entries: Sequence[Entry], stop: int | None = None) -> Block:
    """A block with these messages, at least one."""
    times = [entry.log_ns for entry in entries]
    return Block(at, size, min(times), max(times), Counter(entry.topic for entry in entries), stop)


class OpenFile(Protocol):
    """A file that blocks are read from."""

    def read(self, block: Block, topics: Collection[str]) -> Sequence[BagMessage | UnreadMessage]:
        """The messages of these topics in the order of writing. What cannot be read becomes a problem of the bag."""

    def close(self) -> None:
        """Close it."""


class BagFile(Protocol):
    """One file of a bag.

    Attributes:
        types: topic to type; complete after :meth:`scan`.
        definitions: type to the text of its definition and the text's format, ``ros2msg`` or ``ros2idl``.
    """

    types: dict[str, str]
    definitions: dict[str, tuple[str, str]]

    def scan(self) -> Iterator[tuple[Block, Sequence[Entry]]]:
        """All blocks with their messages, both in the order of writing; ends where the file is damaged."""

    def open(self) -> OpenFile:
        """Open it for reading blocks."""
