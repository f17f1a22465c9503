# SPDX-License-Identifier: Apache-2.0
"""A bag: the messages of all its files in the order of log time, as far as they can be read."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from policy_ros.bags.compression import decompress_file
from policy_ros.bags.errors import BagError
from policy_ros.bags.jumps import LogOrder
from policy_ros.bags.layout import COMPRESSED, bag_files, storage_suffix
from policy_ros.bags.mcap_file import McapFile
from policy_ros.bags.message_types import Definition, MessageTypes
from policy_ros.bags.problems import Problems
from policy_ros.bags.sqlite_file import SqliteFile, with_whole_pages
from policy_ros.bags.storage import BagFile, BagMessage, BagTopic, Block, OpenFile, UnreadMessage, block_of
from policy_ros.bags.temporary import TemporaryFolder


class Bag:
    """See :func:`open_bag`.

    Attributes:
        path: as it was opened.
        start_ns: log time of the first message; 0 in an empty bag [ns].
        end_ns: log time of the last message; 0 in an empty bag [ns].
    """

    def __init__(
        self, path: Path, files: Sequence[BagFile], problems: Problems, folder: TemporaryFolder | None = None
    ) -> None:
        self.path = path
        self._folder = folder  # as long as the bag, its copies of files
        self._files = files
        self._problems = problems
        self._blocks: list[tuple[BagFile, Block]] = []
        self._index()
        counts: Counter[str] = Counter()
        types: dict[str, str] = {}
        for _, block in self._blocks:
            counts.update(block.counts)
        for file in files:
            self._add_types(types, file)
        self.topics: Mapping[str, BagTopic] = MappingProxyType(
            {name: BagTopic(name, type_, counts[name]) for name, type_ in sorted(types.items())}
        )
        self.start_ns = min((block.start_ns for _, block in self._blocks), default=0)
        self.end_ns = max((block.end_ns for _, block in self._blocks), default=0)
        self._types = MessageTypes(path, {name: text for file in files for name, text in file.definitions.items()})
        if not self._blocks:
            problems.add(f"{path}: expected messages, got none; the bag is empty")

    @property
    def problems(self) -> list[str]:
        """What is wrong with the bag, one line each; grows while it is read."""
        return self._problems.lines()

    def note(self, text: str, *key: str) -> None:
        """Add a problem that was found while the bag was used.

        Args:
            text: one line that names the bag and the topic.
            key: problems of the same key are one, with a count.
        """
        self._problems.add(text, *key)

    def messages(
        self, topics: Collection[str], *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """The messages of some topics in the order of log time; of equal times in the order of writing.

        Args:
            topics: their names; names that the bag does not have are no error.
            start_ns: from this log time on [ns].
            stop_ns: before this log time [ns].
        """
        wanted = frozenset(topics)
        chosen = [
            (file, block)
            for file, block in self._blocks
            if not wanted.isdisjoint(block.counts)
            and (start_ns is None or block.end_ns >= start_ns)
            and (stop_ns is None or block.start_ns < stop_ns)
        ]
        begin_ns = float("-inf") if start_ns is None else start_ns
        end_ns = float("inf") if stop_ns is None else stop_ns
        yield from _merged(chosen, wanted, begin_ns, end_ns)

    def deserialize(self, message: BagMessage) -> Any:
        """The message as an object with the fields of its type, as ``rosbags`` makes them.

        Raises:
            BagError: nobody knows the type's definition.
            MalformedMessage: the data is not of the type.
        """
        return self._types.deserialize(message, self.topics[message.topic].type)

    def definition(self, topic: str) -> Definition:
        """The definition of a topic's type.

        Raises:
            BagError: nobody knows it.
        """
        return self._types.definition(topic, self.topics[topic].type)

    def _index(self) -> None:
        """Scan the files up to the first jump of log time, and sort their blocks."""
        order = LogOrder()
        for file in self._files:
            for block, entries in file.scan():
                found = order.first_jump(entries)
                if found is None:
                    self._blocks.append((file, block))
                    continue
                index, jump = found
                if index:
                    stop = entries[index].place
                    self._blocks.append((file, block_of(block.at, block.size, entries[:index], stop)))
                start_ns = min((block.start_ns for _, block in self._blocks), default=jump.log_ns)
                at_s = (jump.log_ns - start_ns) * 1e-9 + jump.back_s
                self._problems.add(
                    f"{self.path}: topic '{jump.topic}': expected log times that increase, got a jump back by "
                    f"{jump.back_s:.3f} s after {at_s:.3f} s (a clock was set back, or /clock began anew); "
                    "everything recorded after it is left out"
                )
                break
            else:
                continue
            break
        self._blocks.sort(key=lambda each: each[1].start_ns)

    def _add_types(self, types: dict[str, str], file: BagFile) -> None:
        for topic, type_ in file.types.items():
            if types.setdefault(topic, type_) != type_:
                raise BagError(
                    f"{self.path}: topic '{topic}': expected one type, got {types[topic]} and {type_}; "
                    "record them on topics of their own"
                )


def open_bag(path: str | Path) -> Bag:
    """Open a bag: a rosbag2 directory, or one file of it.

    mcap and sqlite3, split into any number of files, compressed by file or by message. A bag that is damaged, or was
    cut off when its recorder was killed, is read as far as it goes; ``bag.problems`` says what is missing.

    Raises:
        BagError: nothing of it can be read.
    """
    path = Path(path)
    problems = Problems()
    folder = TemporaryFolder()
    files: list[BagFile] = []
    errors: list[BagError] = []
    for file in bag_files(path, problems):
        try:
            files.append(_open_file(file, problems, folder))
        except (BagError, OSError) as error:
            errors.append(error if isinstance(error, BagError) else BagError(f"{file}: {error}"))
    if not files:
        raise errors[0]
    for unreadable in errors:
        problems.add(f"{unreadable}; left out")
    return Bag(path, files, problems, folder)


def _open_file(path: Path, problems: Problems, folder: TemporaryFolder) -> BagFile:
    file = path
    if path.name.endswith(COMPRESSED):
        file = folder.path / path.name.removesuffix(COMPRESSED)
        stopped = decompress_file(path, file)
        if stopped:
            problems.add(f"{path}: expected a whole zstd file, got a damaged one ({stopped}); read as far as it goes")
    if storage_suffix(path) == ".mcap":
        return McapFile(file, str(path), problems)
    return SqliteFile(with_whole_pages(file, folder), str(path), problems)


def _merged(
    chosen: Sequence[tuple[BagFile, Block]], topics: frozenset[str], begin_ns: float, end_ns: float
) -> Iterator[BagMessage]:
    """Messages of a window, of blocks sorted by their start, in the order of log time; each is read in its turn."""
    waiting: list[tuple[int, int, BagMessage | UnreadMessage]] = []
    order = 0
    with ExitStack() as stack:
        opened: dict[int, OpenFile] = {}
        for file, block in chosen:
            yield from _until(block.start_ns, waiting)
            if id(file) not in opened:
                opened[id(file)] = file.open()
                stack.callback(opened[id(file)].close)
            for message in opened[id(file)].read(block, topics):
                if begin_ns <= message.log_ns < end_ns:
                    heapq.heappush(waiting, (message.log_ns, order, message))
                order += 1
        yield from _until(float("inf"), waiting)


def _until(end_ns: float, waiting: list[tuple[int, int, BagMessage | UnreadMessage]]) -> Iterator[BagMessage]:
    """Take out the messages before this log time, the earliest first."""
    while waiting and waiting[0][0] < end_ns:
        message = heapq.heappop(waiting)[2]
        read = message if isinstance(message, BagMessage) else message.read()
        if read is not None:
            yield read
