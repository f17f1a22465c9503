# SPDX-License-Identifier: Apache-2.0
"""What one control tick has to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk


class ExecutionState(IntEnum):
    """State of the execution, numbered as in ``msg/PolicyStatus.msg``."""

    IDLE = 0  # not started
    WAITING = 1  # no action to execute yet in this epoch
    RUNNING = 2  # a command on every tick
    STARVED = 3  # chunk finished, next one not there yet
    HOLDING = 4  # commands stopped


@dataclass(frozen=True)
class Tick:
    """Result of one control tick.

    Attributes:
        state: state after this tick.
        step: absolute step of ``window[0]``, or the step that is due next when there is no window.
        window: ``(K, A)`` gated rows in robot units, row 0 due now; None: publish nothing. While HOLDING: the rows that
            bring the robot to rest.
        hold: ``(A,)`` where the robot has come to rest, set at most once for each hold, after the last of these rows:
            publish it, then nothing. Never set if there is nothing to stop: nothing was commanded, or no row was left
            and nobody asked.
        chunk: the chunk that took over since the previous tick, else None.
        clamped: ``(A,)`` of the row that is due, whether the gate changed it; None while none is executed.
    """

    state: ExecutionState
    step: int
    window: NDArray[np.float64] | None = None
    hold: NDArray[np.float64] | None = None
    chunk: ActionChunk | None = None
    clamped: NDArray[np.bool_] | None = None
