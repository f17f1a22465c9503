# SPDX-License-Identifier: Apache-2.0
"""The rows of actions that lie ahead of an observation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOM = 4  # windows that fit before rows are moved to the front


class RowWindow:
    """A queue of at most H rows, of which some may be unknown, as one array.

    Args:
        horizon: H, the most rows.
        dim: A, values in a row.
    """

    def __init__(self, horizon: int, dim: int) -> None:
        self._horizon = horizon
        self._rows = np.zeros((_ROOM * horizon, dim))
        self._known = np.zeros(_ROOM * horizon, dtype=np.bool_)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, row: NDArray[np.float64] | None) -> None:
        """Add the next row ``(A,)``; None where nobody knows it."""
        if self._end == len(self._rows):
            kept = slice(self._begin, self._end)
            self._rows[: len(self)], self._known[: len(self)] = self._rows[kept].copy(), self._known[kept].copy()
            self._begin, self._end = 0, len(self)
        self._known[self._end] = row is not None
        if row is not None:
            self._rows[self._end] = row
        self._end += 1

    def popleft(self) -> None:
        """Forget the oldest row."""
        self._begin += 1

    def chunk(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """All rows ``(H, A)`` and which are padding ``(H,)``.

        Padding begins with the first row that is unknown or missing and repeats the last one before it. Without any
        known row at the front all is padding, of zeros.
        """
        count = min(len(self), self._horizon)
        known = self._known[self._begin : self._begin + count]
        valid = count if known.all() else int(np.argmin(known))
        chunk = np.zeros((self._horizon, self._rows.shape[1]))
        chunk[:valid] = self._rows[self._begin : self._begin + valid]
        if valid:
            chunk[valid:] = chunk[valid - 1]
        return chunk, np.arange(self._horizon) >= valid
