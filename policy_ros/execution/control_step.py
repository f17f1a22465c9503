# SPDX-License-Identifier: Apache-2.0
"""One control tick of a sensed robot: what the executor is told about it, live and on a recording alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import StreamHealth
from policy_ros.execution.executor import ChunkExecutor
from policy_ros.execution.hold import HoldCause
from policy_ros.execution.tick import Tick


class Sensors(Protocol):
    """What is known of the robot, such as :class:`policy_ros.observation.ObservationAssembler`."""

    def conflicts(self) -> tuple[str, ...]:
        """Joints that two sources disagree about, a line for each."""
        ...

    def joint_positions(self) -> NDArray[np.float64] | None:
        """``(J,)`` newest measured positions, robot units; None before there are any."""
        ...

    def health(self, now_ns: int) -> StreamHealth:
        """Freshness of the streams."""
        ...


class ControlStep:
    """Asks the executor what to command now.

    Args:
        sensors: freshness and measured positions.
        executor: what to command.
        measured_order: columns of the measured positions that are the action joints, in the order of the action.
        dry_run: nothing is commanded, so that the robot does not follow: while it would be moving, its measured
            positions say nothing about the next command.

    Attributes:
        measured: ``(A,)`` positions of the action joints at the newest tick [rad, m], NaN for those that are not
            measured; None before anything was.
    """

    def __init__(
        self, sensors: Sensors, executor: ChunkExecutor, measured_order: Sequence[int], *, dry_run: bool
    ) -> None:
        self._sensors = sensors
        self._executor = executor
        self._order = list(measured_order)
        self._dry_run = dry_run
        self._nowhere = np.full(len(self._order), np.nan)
        self._nowhere.setflags(write=False)
        self._moving = False
        self.measured: NDArray[np.float64] | None = None

    def begin(self) -> None:
        """A new run: nothing was commanded yet."""
        self._moving = False

    def look_through(self, sensors: Sensors) -> None:
        """The robot is known by other sensors from now on; their measured positions are in the same order."""
        self._sensors = sensors

    def __call__(self, now_ns: int, health: StreamHealth | None = None) -> Tick:
        """One tick.

        Args:
            now_ns: local time.
            health: freshness, where more is known about it than the sensors know.
        """
        conflicts = self._sensors.conflicts()
        if conflicts:
            self._executor.hold(HoldCause.JOINT_CONFLICT, "; ".join(conflicts))
        positions = self._sensors.joint_positions()
        self.measured = measured = None if positions is None else positions[self._order]
        if self._dry_run and self._moving:
            measured = self._nowhere
        tick = self._executor.tick(self._sensors.health(now_ns) if health is None else health, measured)
        self._moving = tick.window is not None
        return tick
