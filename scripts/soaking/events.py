# SPDX-License-Identifier: Apache-2.0
"""What the referee judges: everything that happened, each with the time at which it happened (wall clock, seconds)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Command:
    """A command as the node published it.

    Attributes:
        time_s: when it was published.
        output: name of the output.
        rows: ``(K, J)`` positions in the order of the output's joints, row 0 due first, one control period apart.
        lost: commands of this output that did not reach the observer before this one.
    """

    time_s: float
    output: str
    rows: NDArray[np.float64]
    lost: int = 0


@dataclass(frozen=True)
class Chunk:
    """A chunk took over: the tick that executes its first row began.

    Attributes:
        time_s: of the tick.
        epoch: of the node's execution.
        rows: that may be executed from this tick on.
    """

    time_s: float
    epoch: int
    rows: int


@dataclass(frozen=True)
class Sample:
    """A sample of an input stream, by its stamp; ``positions`` ``(J,)`` by joint for joint states."""

    time_s: float
    stream: str
    positions: dict[str, float] | None = None


@dataclass(frozen=True)
class FaultBegan:
    """From now on a fault is in force that must end in silence within ``bound_s``."""

    time_s: float
    kind: str
    bound_s: float


@dataclass(frozen=True)
class FaultEnded:
    """The fault of this kind is about to be lifted."""

    time_s: float
    kind: str


@dataclass(frozen=True)
class RobotStarting:
    """The robot's process begins again: node and observer find it by themselves, the one maybe before the other."""

    time_s: float


@dataclass(frozen=True)
class Activating:
    """The node was asked to become active."""

    time_s: float


@dataclass(frozen=True)
class Deactivated:
    """The node answered that it is not active any more, or its process has ended."""

    time_s: float


@dataclass(frozen=True)
class Status:
    """Counters of a status message, which only grow while the node is active, and other numbers.

    Attributes:
        time_s: when it was made.
        counters: by name.
        numbers: by name, times, distances and weights; NaN before anything is measured.
        hold_cause: empty unless held.
    """

    time_s: float
    counters: dict[str, int]
    numbers: dict[str, float]
    hold_cause: str = ""


@dataclass(frozen=True)
class Swapping:
    """Another policy was asked for: until that has ended an epoch may continue what is commanded."""

    time_s: float


@dataclass(frozen=True)
class SwapEnded:
    """The other policy runs, or will not."""

    time_s: float


Event = (
    Command
    | Chunk
    | Sample
    | FaultBegan
    | FaultEnded
    | RobotStarting
    | Activating
    | Deactivated
    | Swapping
    | SwapEnded
    | Status
)
