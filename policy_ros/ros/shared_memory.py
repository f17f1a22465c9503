# SPDX-License-Identifier: Apache-2.0
"""Shared-memory files of Fast DDS: whose they are, and whether they are gone. A killed process leaves its own."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path


def segments_of(pid: int) -> set[Path]:
    """Files of Fast DDS that a running process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {Path(path) for path in re.findall(r"(/dev/shm/(?:sem\.)?fastrtps_\S+)$", maps, re.MULTILINE)}


def mapped_segments(*, besides: int | None = None) -> set[Path]:
    """Files of Fast DDS that any process has mapped now, ``besides`` one of them."""
    found: set[Path] = set()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == besides:
            continue
        with suppress(OSError):  # it ended meanwhile, or belongs to somebody else
            found |= segments_of(int(process.name))
    return found


def all_segments() -> set[Path]:
    """Files of Fast DDS that exist now."""
    folder = Path("/dev/shm")
    return {*folder.glob("fastrtps_*"), *folder.glob("sem.fastrtps_*")}


def remove_segments(segments: set[Path]) -> None:
    """Remove what killed processes left, with locks and mutexes; what another process still maps stays."""
    for segment in segments - mapped_segments(besides=os.getpid()):
        base = segment.name.removeprefix("sem.").removesuffix("_mutex").removesuffix("_el")
        for name in (base, f"{base}_el", f"sem.{base}_mutex"):
            segment.with_name(name).unlink(missing_ok=True)
