# SPDX-License-Identifier: Apache-2.0
"""The thread that writes the bag, so that a slow disk delays no callback, and what happens if it is too slow."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from policy_ros.ros.recorder.bag import MIN_FREE_BYTES, WRITE_ERRORS, BagWriter

BUDGET_BYTES = 256 * 2**20  # about 5 s of two raw 640x480 cameras at 30 Hz
_FLUSH_EVERY_S = 1.0
_FLUSH_EVERY_BYTES = 8 * 2**20


class Record(NamedTuple):
    """One message on its way to the disk."""

    topic: int
    log_ns: int
    data: bytes


class WriterThread:
    """Owns the bag from start to end.

    A message that does not fit into the queue is dropped and counted. When the disk is nearly full the bag is closed
    while there is room to do it; when writing fails, what was flushed before remains.

    Args:
        open_bag: makes the bag with its topics; called in the thread, because sqlite3 stays in the one it is opened in.
        on_failure: called once, from the thread, with the reason when it gives up.
        budget_bytes: size of the queue.
        free_bytes: space left; injected in tests.

    Raises what ``open_bag`` raises.
    """

    def __init__(
        self,
        open_bag: Callable[[], BagWriter],
        on_failure: Callable[[str], None],
        *,
        budget_bytes: int = BUDGET_BYTES,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        self.failure = ""  # why it gave up
        self.complete = False  # index and metadata are written
        self.dropped: Counter[int] = Counter()  # by topic
        self.written: Counter[int] = Counter()  # by topic
        self._bag: BagWriter
        self._open_bag = open_bag
        self._on_failure = on_failure
        self._budget_bytes = budget_bytes
        self._free_bytes = free_bytes
        self._queue: deque[Record] = deque()
        self._queued_bytes = 0
        self._ending = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)
        self._opened = threading.Event()
        self._error: BaseException | None = None
        self._thread.start()
        self._opened.wait()
        if self._error is not None:
            raise self._error

    def put(self, record: Record, *, always: bool = False) -> bool:
        """Queue a message; False if it is dropped. With ``always``, however full the queue is."""
        with self._wake:
            full = self._queued_bytes + len(record.data) > self._budget_bytes and not always
            if full or self.failure or self._ending:
                self.dropped[record.topic] += 1
                return False
            self._queue.append(record)
            self._queued_bytes += len(record.data)
            self._wake.notify()
            return True

    @property
    def queued_bytes(self) -> int:
        """What waits for the disk."""
        return self._queued_bytes

    def close(self) -> None:
        """Write what is queued and finish the bag."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._bag = self._open_bag()
        except BaseException as error:
            self._error = error
            return
        finally:
            self._opened.set()
        try:
            self._write_until_end()
        except _DiskFull as error:
            self._give_up(str(error))
        except WRITE_ERRORS as error:
            self._give_up(f"writing failed, so the bag has no index and ends where it was flushed last: {error}")
            with suppress(*WRITE_ERRORS):
                self._bag.abort()
            return
        try:
            self._bag.close()
            self.complete = True
        except WRITE_ERRORS as error:
            self._give_up(f"the bag could not be finished and has no index: {error}")

    def _write_until_end(self) -> None:
        flushed_s, unflushed_bytes = time.monotonic(), 0
        while True:
            record = self._next()
            if record is not None:
                self._bag.write(*record)
                self._done_with(record)
                unflushed_bytes += len(record.data)
            elif self._ending:
                return
            if unflushed_bytes >= _FLUSH_EVERY_BYTES or time.monotonic() - flushed_s >= _FLUSH_EVERY_S:
                self._bag.flush()
                self._require_space()
                flushed_s, unflushed_bytes = time.monotonic(), 0

    def _next(self) -> Record | None:
        """The oldest message in the queue, where it stays until it is written; None after a while without any."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._ending, _FLUSH_EVERY_S)
            return self._queue[0] if self._queue else None

    def _done_with(self, record: Record) -> None:
        with self._wake:
            self._queue.popleft()
            self._queued_bytes -= len(record.data)
            self.written[record.topic] += 1

    def _require_space(self) -> None:
        free_bytes = self._free_bytes() if self._free_bytes is not None else self._bag.free_bytes
        if free_bytes < MIN_FREE_BYTES:
            raise _DiskFull(
                f"the disk is full: {free_bytes / 2**20:.0f} MB are left at '{self._bag.path}'; "
                "make room, or choose another place"
            )

    def _give_up(self, reason: str) -> None:
        with self._wake:
            self.failure = reason
            self.dropped.update(record.topic for record in self._queue)
            self._queue.clear()
            self._queued_bytes = 0
        self._on_failure(reason)


class _DiskFull(Exception):
    """The bag is whole, but must be closed now."""
