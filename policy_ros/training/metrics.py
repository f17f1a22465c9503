# SPDX-License-Identifier: Apache-2.0
"""The record of losses and scores: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_ros.durable import write_durably

TRAINING, VALIDATION, ROLLOUTS = "training", "validation", "rollouts"


class MetricsFile:
    """Appends rows ``{"step": 500, "kind": "validation", "loss": 0.12, …}``.

    Args:
        path: of the file.
        first_step: rows of later steps are those of a process that was killed after its last saved state; they go,
            since they come again.
    """

    def __init__(self, path: Path, first_step: int = 0) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= first_step]
        write_durably(path, lambda file: _write(file, kept))
        self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """One row."""
        self._file.write(_line({"step": step, "kind": kind, **values}))
        self._file.flush()

    def close(self) -> None:
        """No more rows."""
        self._file.close()


def read_metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The rows of a file, all or those of one kind; a line that a killed process left unfinished is no row."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if kind is None or row["kind"] == kind]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(map(_line, rows)), encoding="utf-8")


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"
