# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

UNFINISHED = ".unfinished"


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside ``path``, bring it to the disk, then give it its name in one step.

    Args:
        path: of the finished file; an old one is replaced.
        write: writes the content to the path it is given.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    write(unfinished)
    _to_disk(unfinished)
    os.replace(unfinished, path)
    _to_disk(path.parent)


def move_durably(files: list[Path], directory: Path) -> None:
    """Move finished files into ``directory`` on the same file system, in this order, each in one step."""
    for file in files:
        _to_disk(file)
        os.replace(file, directory / file.name)
    _to_disk(directory)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
