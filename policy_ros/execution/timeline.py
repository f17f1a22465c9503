# SPDX-License-Identifier: Apache-2.0
"""The rows that are still to be executed, in absolute steps of one epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Timeline:
    """Rows for consecutive steps; ``step`` is the number of rows consumed so far, hence the step that is due next.

    Rows are placed by absolute step. A chunk whose observation was taken at step k is placed with its row 0 at k; when
    d steps were consumed meanwhile, its rows 0 to d - 1 are past and fall away, and row d is executed first. Nothing
    else in this package skips rows. Not thread-safe: the executor's lock guards it.

    Args:
        action_dim: A.
    """

    def __init__(self, action_dim: int) -> None:
        self._rows: NDArray[np.float32] = np.zeros((0, action_dim), dtype=np.float32)  # row 0 is due at self._step
        self._step = 0

    @property
    def step(self) -> int:
        """Absolute step of the next row."""
        return self._step

    @property
    def remaining(self) -> int:
        """Rows left to execute."""
        return len(self._rows)

    @property
    def end(self) -> int:
        """First absolute step without a row."""
        return self._step + len(self._rows)

    def row(self, step: int) -> NDArray[np.float32]:
        """Row ``(A,)`` of an absolute step.

        Raises:
            IndexError: the step is past or not planned yet.
        """
        if not self._step <= step < self.end:
            raise IndexError(f"step {step} is not on the timeline, which holds steps {self._step} to {self.end - 1}")
        row: NDArray[np.float32] = self._rows[step - self._step]
        return row

    def window(self, step: int, count: int) -> NDArray[np.float32]:
        """Up to ``count`` rows from ``step`` on, ``(K, A)``; empty where nothing is planned.

        Raises:
            IndexError: the step is past.
        """
        if step < self._step:
            raise IndexError(f"step {step} is past, the timeline is at step {self._step}")
        first = step - self._step
        return self._rows[first : first + count]

    def consume(self) -> NDArray[np.float32]:
        """Take the row that is due, ``(A,)``, and advance by one step.

        Raises:
            IndexError: no row is left.
        """
        row = self.row(self._step)
        self._rows = self._rows[1:]
        self._step += 1
        return row

    def replace(self, first_step: int, rows: NDArray[np.float32]) -> None:
        """Put ``rows`` ``(N, A)`` at ``first_step``; they replace everything planned from there on.

        Rows of steps that were already consumed fall away.

        Raises:
            ValueError: the rows would leave a gap after the last planned step, or have another width.
        """
        if first_step > self.end:
            raise ValueError(f"rows at step {first_step} would leave a gap: the timeline ends at step {self.end}")
        if rows.ndim != 2 or rows.shape[1] != self._rows.shape[1]:
            raise ValueError(f"expected rows of shape (N, {self._rows.shape[1]}), got {rows.shape}")
        kept = self._rows[: max(0, first_step - self._step)]
        self._rows = np.concatenate([kept, rows[max(0, self._step - first_step) :]])

    def clear(self) -> None:
        """Forget all rows and count steps from 0 again: a new epoch."""
        self._rows = self._rows[:0]
        self._step = 0
