# SPDX-License-Identifier: Apache-2.0
"""Clocks that were set back during a recording, and playback in a loop that was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy_ros.bags.storage import Entry

LOG_TOLERANCE_NS = 50_000_000  # as for steps of the clock on the running node
# Several publishers of one topic lag behind each other, up to the age at which a sample is of no use any more.
STAMP_TOLERANCE_NS = 500_000_000


@dataclass(frozen=True)
class Jump:
    """Time ran backwards on a topic.

    Attributes:
        topic: the topic.
        log_ns: log time of the first message after it.
        back_s: by how much [s].
    """

    topic: str
    log_ns: int
    back_s: float


class _Backwards:
    """Whether the times of a topic run backwards by more than a tolerance."""

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._newest_ns: dict[str, int] = {}

    def saw(self, topic: str, time_ns: int) -> int | None:
        """By how much this time lies before the newest of its topic, if it is too much; the newest starts anew then."""
        newest_ns = self._newest_ns.get(topic, time_ns)
        back_ns = newest_ns - time_ns
        if back_ns > self._tolerance_ns:
            self._newest_ns[topic] = time_ns
            return back_ns
        self._newest_ns[topic] = max(newest_ns, time_ns)
        return None


class LogOrder:
    """Finds where the log time of a topic runs backwards in the order of writing.

    A recorder takes the messages of one topic in the order of their arrival; of several topics it may not.
    """

    def __init__(self, tolerance_ns: int = LOG_TOLERANCE_NS) -> None:
        self._topics = _Backwards(tolerance_ns)

    def first_jump(self, entries: Sequence[Entry]) -> tuple[int, Jump] | None:
        """Index of the first entry after a jump, and the jump."""
        for index, entry in enumerate(entries):
            back_ns = self._topics.saw(entry.topic, entry.log_ns)
            if back_ns is not None:
                return index, Jump(entry.topic, entry.log_ns, back_ns * 1e-9)
        return None


class StampOrder:
    """Finds where the header stamps of a topic run backwards from one message to the next."""

    def __init__(self, tolerance_ns: int = STAMP_TOLERANCE_NS) -> None:
        self._topics = _Backwards(tolerance_ns)

    def saw(self, topic: str, log_ns: int, stamp_ns: int) -> Jump | None:
        """The jump between this message and the one before, if there is one. A stamp of zero is none."""
        if stamp_ns == 0:
            return None
        back_ns = self._topics.saw(topic, stamp_ns)
        return None if back_ns is None else Jump(topic, log_ns, back_ns * 1e-9)
