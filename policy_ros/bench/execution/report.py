# SPDX-License-Identifier: Apache-2.0
"""Results as a table to read, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from policy_ros.bench.execution.contenders import Contender
from policy_ros.bench.execution.findings import Finding
from policy_ros.bench.execution.metrics import Summary
from policy_ros.bench.execution.suite import EXECUTION_HORIZON, Cell, SuiteOptions
from policy_ros.bench.execution.task import PERIOD_S

_COLUMNS: tuple[tuple[str, int, Callable[[Summary], str]], ...] = (
    ("d [steps]", 10, lambda s: f"{s.delay_steps}"),
    ("success", 8, lambda s: f"{s.success:.0%}"),
    ("time [s]", 9, lambda s: f"{s.task_time_s:.2f}"),
    ("error [mrad]", 13, lambda s: f"{1e3 * s.tracking_rms_rad:.1f}"),
    ("jump [mrad]", 12, lambda s: f"{1e3 * s.seam_jump_rad:.1f}"),
    ("excess [mrad]", 14, lambda s: f"{1e3 * s.seam_excess_rad:.1f}"),
    ("typical", 8, lambda s: f"{1e3 * s.seam_excess_typical_rad:.1f}"),
    ("peak [rad/s2]", 14, lambda s: f"{s.peak_acceleration:.0f}"),
    ("holds", 6, lambda s: f"{s.holds:.1f}"),
    ("starved", 8, lambda s: f"{s.starved_ticks:.0f}"),
    ("chunks", 7, lambda s: f"{s.chunks:.0f}"),
    ("guided", 7, lambda s: f"{s.chunks_guided:.0f}"),
)
_WAY_WIDTH = 14

LEGEND = (
    "error: root mean square distance from the nearer way; jump: largest step of a command into a new chunk; excess:\n"
    "largest change of its step there (typical: median of the episodes' largest); peak: largest acceleration;\n"
    "starved: ticks without a row. The largest of all episodes; means for time and counts."
)


def header() -> str:
    """First line of the table."""
    return "".join([f"{'mode':<{_WAY_WIDTH}}{'delay':>7}", *(f"{name:>{width}}" for name, width, _ in _COLUMNS)])


def line(cell: Cell) -> str:
    """One line of the table."""
    numbers = "".join(f"{text(cell.summary):>{width}}" for _, width, text in _COLUMNS)
    acted = [mode for mode in cell.summary.active_modes if mode != cell.mode]
    degraded = f"  -> {', '.join(acted)}" if acted else ""
    return f"{cell.way:<{_WAY_WIDTH}}{cell.delay_ms:>4g} ms{numbers}{degraded}"


def finding_line(finding: Finding) -> str:
    """One comparison, in words."""
    return f"{'as expected' if finding.holds else 'NOT so':<12}{finding.policy}: {finding.expected}: {finding.measured}"


def as_json(
    options: SuiteOptions,
    contenders: Sequence[Contender],
    cells: Sequence[Cell],
    found: Sequence[Finding],
    reference_acceleration: float,
) -> dict[str, Any]:
    """Everything."""
    return {
        "benchmark": "execution",
        "period_s": PERIOD_S,
        "execution_horizon": EXECUTION_HORIZON,
        "reference_peak_acceleration": reference_acceleration,
        "options": dataclasses.asdict(options),
        "policies": {one.name: {"description": one.description, "horizon": one.horizon} for one in contenders},
        "cells": [
            {
                "policy": cell.policy,
                "way": cell.way,
                "mode": cell.mode,
                "delay_ms": cell.delay_ms,
                **dataclasses.asdict(cell.summary),
            }
            for cell in cells
        ],
        "findings": [dataclasses.asdict(finding) for finding in found],
    }
