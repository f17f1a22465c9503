# SPDX-License-Identifier: Apache-2.0
"""A recording that is read once, as far as time has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policy_ros.bags import BagMessage


class MessageCursor:
    """Messages in the order of log time, taken up to any moment.

    Attributes:
        next: the message that comes next; None at the end.
    """

    def __init__(self, messages: Iterable[BagMessage]) -> None:
        self._messages = iter(messages)
        self.next: BagMessage | None = next(self._messages, None)

    def before(self, time_ns: int) -> Iterator[BagMessage]:
        """All messages that are left and were logged before a moment [ns]."""
        while self.next is not None and self.next.log_ns < time_ns:
            message, self.next = self.next, next(self._messages, None)
            yield message
