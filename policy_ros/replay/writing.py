# SPDX-License-Identifier: Apache-2.0
"""The directory that a replay leaves: made, protected, and filled with files that are whole or not there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_ros.durable import UNFINISHED, write_durably
from policy_ros.errors import ConfigurationError

METRICS = "metrics.json"
RUN = "run.json"
REPORT = "report.html"
MESSAGES = "replay.mcap"

# Strings of JSON have no line breaks, so that these never match within one.
_LINE_BREAK = re.compile(r"\n\s+")
_SHORT_LIST = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")


def prepare_directory(out: Path, bags: Iterable[Path], *, overwrite: bool) -> None:
    """Make the directory, or empty one of an earlier replay.

    Args:
        out: the directory.
        bags: that are going to be replayed; nothing of them is ever written to.
        overwrite: whether the files of an earlier replay may be removed.

    Raises:
        ConfigurationError: the directory is not free, or touches a bag.
        OSError: it cannot be made.
    """
    for bag in bags:
        place, there = bag.resolve(), out.resolve()
        if place in (there, *there.parents) or there in place.parents:
            raise ConfigurationError(f"--out: expected a directory apart from the bags, '{out}' and '{bag}' overlap")
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"--out: expected a directory, '{out}' is a file")
    found = sorted(out.iterdir()) if out.exists() else []
    foreign = [file for file in found if not _is_own(file)]
    if foreign:
        raise ConfigurationError(
            f"--out: expected a new directory or that of an earlier replay, '{out}' has '{foreign[0].name}' in it; "
            "choose another"
        )
    if found and not overwrite:
        raise ConfigurationError(f"--out: '{out}' has a replay in it; choose another, or allow --overwrite")
    for file in found:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    out.mkdir(parents=True, exist_ok=True)


def message_files(bags: Sequence[str]) -> list[str]:
    """A file name for each bag: ``replay.mcap`` for one, ``<bag>.replay.mcap`` for several, numbered where equal."""
    if len(bags) == 1:
        return [MESSAGES]
    names: list[str] = []
    for bag in bags:
        stem = Path(bag).resolve().name
        name, number = f"{stem}.{MESSAGES}", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.{MESSAGES}"
        names.append(name)
    return names


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that people read too, lists of numbers on one line; it is whole or not there.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    text = _SHORT_LIST.sub(lambda found: "[" + _LINE_BREAK.sub(" ", found[1]) + "]", text)

    def write(unfinished: Path) -> None:
        unfinished.write_text(text, encoding="utf-8")

    write_durably(path, write)


def remove_unfinished(path: Path) -> None:
    """Remove what is left of a file that could not be written."""
    path.with_name(path.name + UNFINISHED).unlink(missing_ok=True)


def bytes_of(bag: Path) -> int:
    """Size of a bag on disk; 0 where there is none."""
    if not bag.is_dir():
        return bag.stat().st_size if bag.exists() else 0
    return sum(file.stat().st_size for file in bag.iterdir() if file.is_file())


def _is_own(file: Path) -> bool:
    name = file.name.removesuffix(UNFINISHED)
    return name in (METRICS, RUN, REPORT, MESSAGES) or name.endswith(f".{MESSAGES}")
