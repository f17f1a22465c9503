# SPDX-License-Identifier: Apache-2.0
"""How far a swap of policies has come. Of several requests only the newest counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum


class SwapPhase(Enum):
    """What is being done for the newest request; the value is what status messages carry."""

    IDLE = "idle"  # nothing was asked for, or it is done
    LOADING = "loading"  # the checkpoint is read
    WARMING = "warming"  # a first inference on zeros, and the input streams that the policy needs
    READY = "ready"  # it waits for the next chunk boundary
    TAKING_OVER = "taking_over"  # its first inference runs
    FAILED = "failed"  # the policy before it runs on

    @property
    def under_way(self) -> bool:
        """Whether a swap is going on."""
        return self not in (SwapPhase.IDLE, SwapPhase.FAILED)

    @property
    def preparing(self) -> bool:
        """Whether the other policy is not ready to run yet."""
        return self in (SwapPhase.LOADING, SwapPhase.WARMING)


_FORWARD = {
    SwapPhase.LOADING: (SwapPhase.WARMING,),
    SwapPhase.WARMING: (SwapPhase.READY,),
    SwapPhase.READY: (SwapPhase.TAKING_OVER,),
    SwapPhase.TAKING_OVER: (SwapPhase.TAKING_OVER,),  # its first inference may be repeated
}


@dataclass(frozen=True)
class SwapState:
    """Snapshot.

    Attributes:
        ticket: number of the newest request; 0 before the first.
        phase: of it.
        wanted: what was asked for, in words; empty before the first.
        reason: why it failed; empty otherwise.
    """

    ticket: int = 0
    phase: SwapPhase = SwapPhase.IDLE
    wanted: str = ""
    reason: str = ""

    @property
    def detail(self) -> str:
        """One line for people: what is being brought in, or why that failed; empty while nothing is going on."""
        if self.phase is SwapPhase.FAILED:
            return f"{self.wanted}: {self.reason}"
        return self.wanted if self.phase.under_way else ""


class SwapTracker:
    """Hands out a ticket for every request, and keeps the phase of the newest. Thread-safe.

    Whoever works on a request says so with its ticket, and is told whether it still counts.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = SwapState()

    @property
    def state(self) -> SwapState:
        """Where the newest request is."""
        with self._changed:
            return self._state

    def begin(self, wanted: str) -> int:
        """A new request, loading from now on; whatever was under way does not count any more. Its ticket."""
        with self._changed:
            self._put(SwapState(self._state.ticket + 1, SwapPhase.LOADING, wanted))
            return self._state.ticket

    def counts(self, ticket: int) -> bool:
        """Whether this request is the newest, and neither done nor failed nor abandoned."""
        with self._changed:
            return self._state.ticket == ticket and self._state.phase.under_way

    def advance(self, ticket: int, phase: SwapPhase) -> bool:
        """The next phase of a request; False if it does not count any more.

        Raises:
            ValueError: no way leads there from the phase that it is in.
        """
        with self._changed:
            if not self.counts(ticket):
                return False
            if phase not in _FORWARD[self._state.phase]:
                raise ValueError(f"expected what follows on '{self._state.phase.value}', got '{phase.value}'")
            self._put(SwapState(ticket, phase, self._state.wanted))
            return True

    def finish(self, ticket: int) -> bool:
        """It has taken over; False if it does not count any more."""
        return self._end(ticket, SwapPhase.IDLE, "")

    def fail(self, ticket: int, reason: str) -> bool:
        """It will not take over, for this reason; False if it does not count any more."""
        return self._end(ticket, SwapPhase.FAILED, reason)

    def abandon(self) -> None:
        """Whatever is under way does not count any more, and nobody failed."""
        with self._changed:
            if self._state.phase.under_way:
                self._put(SwapState(self._state.ticket, SwapPhase.IDLE))

    def wait_while_preparing(self, timeout_s: float) -> bool:
        """Wait until nothing is being loaded or warmed up; False if it still is after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._state.phase.preparing, timeout_s)

    def _end(self, ticket: int, phase: SwapPhase, reason: str) -> bool:
        with self._changed:
            if not self.counts(ticket):
                return False
            self._put(SwapState(ticket, phase, self._state.wanted, reason))
            return True

    def _put(self, state: SwapState) -> None:
        self._state = state
        self._changed.notify_all()
