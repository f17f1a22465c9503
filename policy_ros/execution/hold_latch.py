# SPDX-License-Identifier: Apache-2.0
"""The hold in force and the one that is requested."""

from __future__ import annotations

from policy_ros.data import StreamHealth
from policy_ros.execution.hold import Hold, HoldCause, Recovery


class HoldLatch:
    """Of several causes the most severe counts. Not thread-safe: the executor's lock guards it."""

    def __init__(self) -> None:
        self.current: Hold | None = None
        self._requested: Hold | None = None

    @property
    def stops_inference(self) -> bool:
        """Whether no inference may start: only a starved execution is ended by the chunk it waits for."""
        held = self.current is not None and self.current.cause is not HoldCause.STARVED
        return held or self._requested is not None

    def request(self, hold: Hold) -> None:
        """Ask for a hold, to be entered on the next tick."""
        if self._requested is None or self._requested.yields_to(hold):
            self._requested = hold

    def take_request(self) -> Hold | None:
        """The requested hold, unless the one in force is as severe."""
        requested, self._requested = self._requested, None
        if requested is None or self.current is None or self.current.yields_to(requested):
            return requested
        return None

    def enter(self, hold: Hold) -> bool:
        """Put a hold in force; True if none was."""
        entered = self.current is None
        self.current = hold
        return entered

    def release_if_over(self, health: StreamHealth, rows_left: int) -> None:
        """End the current hold if what it waits for has come."""
        if self.current is None:
            return
        recovery = self.current.cause.recovery
        fresh = recovery is Recovery.ON_FRESH_STREAMS and health.fresh
        if fresh or (recovery is Recovery.ON_CHUNK and rows_left > 0):
            self.current = None

    def clear(self) -> None:
        """Forget both."""
        self.current = self._requested = None
