# SPDX-License-Identifier: Apache-2.0
"""The way from moving to resting after a hold began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ramp:
    """What is still to be commanded before the output falls silent.

    Attributes:
        rows: ``(N, A)`` one for each tick to come; may be empty.
        rest: ``(A,)`` where the robot stays, commanded once after the rows.
    """

    rows: NDArray[np.float64]
    rest: NDArray[np.float64]

    def __init__(self, rows: NDArray[np.float64], last_command: NDArray[np.float64]) -> None:
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "rest", rows[-1] if len(rows) else last_command)

    @classmethod
    def none(cls, position: NDArray[np.float64]) -> Ramp:
        """Already at rest at ``position`` ``(A,)``."""
        return cls(np.zeros((0, len(position))), position)

    def after_a_row(self) -> Ramp:
        """What is left once the first row was commanded."""
        return Ramp(self.rows[1:], self.rest)
