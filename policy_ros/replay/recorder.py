# SPDX-License-Identifier: Apache-2.0
"""Writes down what happens tick by tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution import ExecutionState, Hold, Tick
from policy_ros.replay.setpoints import Rows, Setpoints
from policy_ros.replay.trace import NO_CHUNK, HoldTrace, TickTrace

_BLOCK = 1024  # rows that are added at once


class TickRecorder:
    """The ticks of one episode.

    Args:
        joints: A.
        setpoints: asked for what was commanded.
        dt_s: control period, the lead of a command [s].
    """

    def __init__(self, joints: int, setpoints: Setpoints, dt_s: float) -> None:
        self._setpoints = setpoints
        self._lead_ns = round(dt_s * 1e9)
        self._joints = joints
        self._times: list[int] = []
        self._states: list[int] = []
        self._chunks: list[int] = []
        self._commands: list[Rows] = []
        self._measured: list[Rows] = []
        self._clamped: list[NDArray[np.bool_]] = []
        self._recorded: list[Rows] = []  # blocks of rows, which are filled in later
        self._nothing = np.full(joints, np.nan)
        self._untouched = np.zeros(joints, dtype=np.bool_)

    def add(self, now_ns: int, tick: Tick, chunk: int, measured: Rows | None) -> None:
        """One tick, and the number of the chunk that acts."""
        index = len(self._times)
        if index % _BLOCK == 0:
            self._recorded.append(np.full((_BLOCK, self._joints), np.nan))
        self._setpoints.ask(now_ns + self._lead_ns, self._recorded[-1], index % _BLOCK)
        command = tick.hold if tick.window is None else tick.window[0]
        self._times.append(now_ns)
        self._states.append(int(tick.state))
        self._chunks.append(chunk if tick.state is ExecutionState.RUNNING else NO_CHUNK)
        self._commands.append(self._nothing if command is None else command)
        self._measured.append(self._nothing if measured is None else measured)
        self._clamped.append(self._untouched if tick.clamped is None else tick.clamped)

    def trace(self) -> TickTrace:
        """All of them."""
        count, shape = len(self._times), (-1, self._joints)
        return TickTrace(
            times_ns=np.array(self._times, dtype=np.int64),
            states=np.array(self._states, dtype=np.uint8),
            commands=np.array(self._commands, dtype=np.float64).reshape(shape),
            recorded=np.array(self._recorded, dtype=np.float64).reshape(shape)[:count],
            measured=np.array(self._measured, dtype=np.float64).reshape(shape),
            chunks=np.array(self._chunks, dtype=np.int64),
            clamped=np.array(self._clamped, dtype=np.bool_).reshape(shape),
        )


class HoldRecorder:
    """The holds of one episode.

    Attributes:
        current: the hold in force, None without.
        since_ns: when it was entered.
    """

    def __init__(self) -> None:
        self.current: Hold | None = None
        self.since_ns = 0
        self._holds: list[HoldTrace] = []

    def see(self, hold: Hold | None, now_ns: int) -> None:
        """What is in force at this tick."""
        if hold is self.current:
            return
        self._close(now_ns)
        self.current, self.since_ns = hold, now_ns

    def trace(self, end_ns: int) -> tuple[HoldTrace, ...]:
        """All of them; one that is in force ends with the episode."""
        self._close(end_ns)
        self.current = None
        return tuple(self._holds)

    def _close(self, now_ns: int) -> None:
        if self.current is not None:
            self._holds.append(HoldTrace(self.since_ns, now_ns, self.current.cause.name, self.current.detail))
