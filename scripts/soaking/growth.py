# SPDX-License-Identifier: Apache-2.0
"""What a process takes from the system, over time, and whether it grows."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_MEMORY_GROWTH_MB = 20.0  # the C library's heaps move by a few MB; one leaked policy, or 1 kB per inference, is more
MEMORY_WARM_UP_S = 360.0  # the C library makes heaps of 40 MB as threads happen to overlap, twice or so, then no more
MAX_FILES_GROWTH = 2  # sockets and shared memory of other processes come and go with them
MIN_SAMPLES = 30
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What one process had at one moment."""

    time_s: float
    memory_mb: float
    threads: int
    files: int


def usage(pid: int, time_s: float) -> Usage | None:
    """Of a running process; None if it is not there any more."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        return Usage(
            time_s,
            pages * _PAGE / 2**20,
            sum(1 for _ in (process / "task").iterdir()),
            sum(1 for _ in (process / "fd").iterdir()),
        )
    except OSError:
        return None


@dataclass(frozen=True)
class Growth:
    """Medians of the first and of the last third of a series, warm-up left out.

    Attributes:
        first: of the first third.
        last: of the last third.
        judges_memory: whether the process lived long enough for its memory to settle.
    """

    first: Usage
    last: Usage
    judges_memory: bool

    def problems(self) -> list[str]:
        """What has grown beyond its bound, one line each."""
        memory_mb = self.last.memory_mb - self.first.memory_mb
        threads = self.last.threads - self.first.threads
        files = self.last.files - self.first.files
        found = []
        if self.judges_memory and memory_mb > MAX_MEMORY_GROWTH_MB:
            found.append(f"memory grew by {memory_mb:.1f} MB, at most {MAX_MEMORY_GROWTH_MB:g} MB allowed")
        if threads > 0:
            found.append(f"threads grew from {self.first.threads} to {self.last.threads}")
        if files > MAX_FILES_GROWTH:
            found.append(f"open files grew from {self.first.files} to {self.last.files}")
        return found


def growth(series: Sequence[Usage]) -> Growth | None:
    """The growth of a series; None where it is too short to tell.

    Memory is judged after ``MEMORY_WARM_UP_S``, where twice as much time follows; everything else after a tenth.
    """
    if not series:
        return None
    start_s, life_s = series[0].time_s, series[-1].time_s - series[0].time_s
    judges_memory = life_s >= 3 * MEMORY_WARM_UP_S
    warm_up_s = MEMORY_WARM_UP_S if judges_memory else life_s / 10
    settled = [sample for sample in series if sample.time_s >= start_s + warm_up_s]
    if len(settled) < MIN_SAMPLES:
        return None
    third = len(settled) // 3
    return Growth(_median(settled[:third]), _median(settled[-third:]), judges_memory)


def _median(series: Sequence[Usage]) -> Usage:
    return Usage(
        statistics.median(sample.time_s for sample in series),
        statistics.median(sample.memory_mb for sample in series),
        round(statistics.median(sample.threads for sample in series)),
        round(statistics.median(sample.files for sample in series)),
    )
