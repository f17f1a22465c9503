# SPDX-License-Identifier: Apache-2.0
"""Clocks that were set back during a recording, and playback in a loop that was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy_ros.bags.storage import Entry

LOG_TOLERANCE_NS = 50_000_000  # as for steps of the clock on the running node
# Several publishers of one topic lag behind each other, up to the age at which a sample is of no use any more.
STAMP_TOLERANCE_NS = 500_000_000
FUTURE_TOLERANCE_NS = 100_000_000  # as of observations, by default


@dataclass(frozen=True)
class Jump:
    """Time ran backwards on a topic.

    Attributes:
        topic: the topic.
        log_ns: log time of the message that gave it away.
        back_s: by how much [s].
    """

    topic: str
    log_ns: int
    back_s: float


class LogOrder:
    """Finds where the log time of a topic runs backwards in the order of writing.

    A recorder takes the messages of one topic in the order of their arrival; of several topics it may not.
    """

    def __init__(self, tolerance_ns: int = LOG_TOLERANCE_NS) -> None:
        self._tolerance_ns = tolerance_ns
        self._newest_ns: dict[str, int] = {}

    def first_jump(self, entries: Sequence[Entry]) -> tuple[int, Jump] | None:
        """Index of the first entry after a jump, and the jump."""
        for index, (_, log_ns, topic) in enumerate(entries):
            newest_ns = self._newest_ns.get(topic, log_ns)
            if newest_ns - log_ns > self._tolerance_ns:
                return index, Jump(topic, log_ns, (newest_ns - log_ns) * 1e-9)
            self._newest_ns[topic] = max(newest_ns, log_ns)
        return None


class StampOrder:
    """Finds where the header stamps of a topic run backwards, and stay there: a single late message is no jump.

    Args:
        tolerance_ns: smaller steps back are none [ns].
        future_tolerance_ns: stamps further ahead of the log time are not looked at, as no observation uses them [ns].
    """

    def __init__(self, tolerance_ns: int = STAMP_TOLERANCE_NS, future_tolerance_ns: int = FUTURE_TOLERANCE_NS) -> None:
        self._tolerance_ns = tolerance_ns
        self._future_tolerance_ns = future_tolerance_ns
        self._newest_ns: dict[str, int] = {}
        self._late: set[str] = set()  # topics whose last message was

    def saw(self, topic: str, log_ns: int, stamp_ns: int) -> Jump | None:
        """Look at the next message; the jump, with the second message after it. A stamp of zero is none."""
        if stamp_ns == 0 or stamp_ns - log_ns > self._future_tolerance_ns:
            return None
        newest_ns = self._newest_ns.get(topic, stamp_ns)
        back_ns = newest_ns - stamp_ns
        if back_ns <= self._tolerance_ns:
            self._newest_ns[topic] = max(newest_ns, stamp_ns)
            self._late.discard(topic)
            return None
        if topic not in self._late:
            self._late.add(topic)
            return None
        self._newest_ns[topic] = stamp_ns
        self._late.remove(topic)
        return Jump(topic, log_ns, back_ns * 1e-9)
