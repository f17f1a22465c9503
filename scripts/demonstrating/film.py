# SPDX-License-Identifier: Apache-2.0
"""What a spectator saw of one episode."""

from __future__ import annotations


class Film:
    """Pictures as JPEG files, and when they were taken, from the first one [s]."""

    def __init__(self) -> None:
        self.pictures: list[bytes] = []
        self.times_s: list[float] = []
        self._first_ns = 0

    def add(self, jpeg: bytes, stamp_ns: int) -> None:
        """One more picture."""
        if not self.pictures:
            self._first_ns = stamp_ns
        self.pictures.append(jpeg)
        self.times_s.append((stamp_ns - self._first_ns) * 1e-9)
