# SPDX-License-Identifier: Apache-2.0
"""The rows of actions around an observation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOM = 4  # windows that fit before rows are moved to the front


class RowWindow:
    """A queue of at most H rows, of which some may be unknown, and the P rows that left it last, as one array.

    Args:
        horizon: H, the most rows.
        dim: A, values in a row.
        past: P.
    """

    def __init__(self, horizon: int, dim: int, past: int = 0) -> None:
        self._horizon, self._past = horizon, past
        room = _ROOM * (horizon + past)
        self._rows = np.zeros((room, dim))
        self._known = np.zeros(room, dtype=np.bool_)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, row: NDArray[np.float64] | None) -> None:
        """Add the next row ``(A,)``; None where nobody knows it."""
        if self._end == len(self._rows):
            start = max(0, self._begin - self._past)
            kept, count = slice(start, self._end), self._end - start
            self._rows[:count], self._known[:count] = self._rows[kept].copy(), self._known[kept].copy()
            self._begin, self._end = self._begin - start, count
        self._known[self._end] = row is not None
        if row is not None:
            self._rows[self._end] = row
        self._end += 1

    def popleft(self) -> None:
        """Forget the oldest row."""
        self._begin += 1

    def chunk(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """All rows ``(P + H, A)`` and which are padding ``(P + H,)``; row P is the front of the queue.

        Padding begins with the first row that is unknown or missing, on either side, and repeats the last one before
        it. Without a known row at the front all is padding, of zeros.
        """
        ahead = _leading(self._known[self._begin : min(self._end, self._begin + self._horizon)])
        behind = _leading(self._known[max(0, self._begin - self._past) : self._begin][::-1]) if ahead else 0
        numbers = np.arange(-self._past, self._horizon)
        is_pad = (numbers < -behind) | (numbers >= ahead)
        if not ahead:
            return np.zeros((len(numbers), self._rows.shape[1])), is_pad
        return self._rows[self._begin + numbers.clip(-behind, ahead - 1)], is_pad


def _leading(known: NDArray[np.bool_]) -> int:
    """How many rows are known before the first that is not."""
    return len(known) if known.all() else int(np.argmin(known))
