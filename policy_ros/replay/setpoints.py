# SPDX-License-Identifier: Apache-2.0
"""What the robot was told, at moments that were asked for before the recording came to them."""

from __future__ import annotations

import heapq
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import BagMessage

Rows = NDArray[np.float64]


class Commands(Protocol):
    """Who knows what was commanded, from what was fed so far: :class:`policy_ros.bags.CommandTracks`."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What it needs."""

    def feed(self, message: BagMessage) -> object:
        """Take one message."""

    def setpoint(self, t_ns: int) -> Rows | None:
        """``(A,)``; None while a joint was never commanded."""

    def clear(self) -> None:
        """Forget all commands."""


class Setpoints:
    """Fills in setpoints as a recording goes by.

    A setpoint is causal: it is worked out when everything recorded up to its moment was fed, and nothing after it.

    Args:
        commands: None where the recording has none, so that every setpoint stays unknown.
        max_silence_s: no setpoint is known when no command came for longer; None: a command holds until the next [s].
    """

    def __init__(self, commands: Commands | None, *, max_silence_s: float | None = None) -> None:
        self.topics: frozenset[str] = frozenset(() if commands is None else commands.topics)
        self._commands = commands
        self._max_silence_ns = None if max_silence_s is None else round(max_silence_s * 1e9)
        self._last_ns: int | None = None  # newest command
        self._wanted: list[tuple[int, int, Rows, int]] = []  # a heap: moment, running number, where it goes
        self._asked = 0

    def begin(self) -> None:
        """Another episode: nothing was commanded, nothing is asked for."""
        if self._commands is not None:
            self._commands.clear()
        self._last_ns = None
        self._wanted.clear()

    def ask(self, time_ns: int, rows: Rows, index: int) -> None:
        """Put the setpoint of a moment into ``rows[index]``, once it is known; the row stays as it is if none is."""
        if self._commands is None:
            return
        heapq.heappush(self._wanted, (time_ns, self._asked, rows, index))
        self._asked += 1

    def known(self, time_ns: int) -> bool:
        """Whether all that was asked for up to a moment was answered."""
        return not self._wanted or self._wanted[0][0] > time_ns

    def feed(self, message: BagMessage) -> None:
        """The next message in the order of log time."""
        self.answer_before(message.log_ns)
        if self._commands is not None and message.topic in self.topics:
            self._last_ns = message.log_ns
            self._commands.feed(message)

    def answer_before(self, time_ns: int) -> None:
        """No message up to a moment, not part of it, is to come any more."""
        known_ns, setpoint = None, None
        while self._wanted and self._wanted[0][0] < time_ns:
            wanted_ns, _, rows, index = heapq.heappop(self._wanted)
            if wanted_ns != known_ns:  # several chunks and a tick often ask for the same moment
                known_ns, setpoint = wanted_ns, self._setpoint(wanted_ns)
            if setpoint is not None:
                rows[index] = setpoint

    def forget(self) -> None:
        """What is still asked for stays unknown: the episode is over."""
        self._wanted.clear()

    def _setpoint(self, time_ns: int) -> Rows | None:
        if self._commands is None or self._last_ns is None:
            return None
        if self._max_silence_ns is not None and time_ns - self._last_ns > self._max_silence_ns:
            return None
        return self._commands.setpoint(time_ns)
