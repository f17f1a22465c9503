# SPDX-License-Identifier: Apache-2.0
"""Episodes as they begin and end: decided here, or followed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Event(IntEnum):
    """Numbered as in ``msg/Episode.msg``."""

    STARTED = 0
    ENDED = 1
    DISCARDED = 2


class Result(IntEnum):
    """Numbered as in ``msg/Episode.msg``."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2


@dataclass(frozen=True)
class EpisodeEvent:
    """One boundary, without its stamp."""

    index: int
    event: Event
    result: Result = Result.UNKNOWN
    task: str = ""


class EpisodeError(Exception):
    """What was asked for is not possible now; the text says why."""


class Episodes:
    """Which episode runs, and how the others ended."""

    def __init__(self) -> None:
        self.running: int | None = None
        self.results: dict[int, Result] = {}  # of the episodes that ended and were not discarded
        self.discarded = 0
        self._last: int | None = None
        self._next = 0

    @property
    def kept(self) -> int:
        """Episodes that ended and were not discarded."""
        return len(self.results)

    def count(self, result: Result) -> int:
        """Episodes kept that ended so."""
        return sum(each is result for each in self.results.values())

    def follow(self, event: EpisodeEvent) -> bool:
        """An event that somebody else decided; False if it is about an episode whose start was not seen."""
        if event.event is Event.STARTED:
            self.running = self._last = event.index
            self._next = event.index + 1
            return True
        if event.index != self._last:
            return False
        self.running = None
        if event.event is Event.ENDED:
            self.results[event.index] = event.result
        else:
            self.results.pop(event.index, None)
            self.discarded += 1
            self._last = None
        return True

    def start(self, task: str) -> EpisodeEvent:
        """Begin the next episode."""
        if self.running is not None:
            raise EpisodeError(f"episode {self.running} is running: stop or discard it first")
        return self._decide(EpisodeEvent(self._next, Event.STARTED, task=task))

    def stop(self, task: str, result: Result = Result.UNKNOWN) -> EpisodeEvent:
        """End the running episode."""
        if self.running is None:
            raise EpisodeError("no episode is running: start one first")
        return self._decide(EpisodeEvent(self.running, Event.ENDED, result, task))

    def discard(self, task: str) -> EpisodeEvent:
        """Discard the running episode, or else the one that ended last."""
        if self._last is None:
            raise EpisodeError("there is no episode to discard")
        return self._decide(EpisodeEvent(self._last, Event.DISCARDED, task=task))

    def _decide(self, event: EpisodeEvent) -> EpisodeEvent:
        self.follow(event)
        return event
