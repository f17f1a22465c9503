# SPDX-License-Identifier: Apache-2.0
"""Traces as files that a spreadsheet or PlotJuggler opens."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from policy_ros.bench.execution.episode import Trace
from policy_ros.bench.execution.suite import Cell
from policy_ros.bench.execution.task import JOINTS
from policy_ros.execution import ExecutionState


def save_trace(directory: Path, cell: Cell, trace: Trace) -> Path:
    """One CSV file, a line per control tick: time, joints, state, whether a chunk began, whether an inference ran."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{cell.policy}_{cell.way.replace(' ', '_')}_{cell.delay_ms:g}ms.csv"
    time_s = trace.period_s * np.arange(1, len(trace.positions))
    inferring = np.zeros(len(time_s), dtype=bool)
    for begin_s, end_s in trace.inferences_s:
        inferring |= (time_s > begin_s) & (time_s <= end_s)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time_s", *(f"{joint}_rad" for joint in JOINTS), "state", "seam", "inferring"])
        for row in zip(time_s, trace.positions[1:], trace.states, trace.seams, inferring, strict=True):
            moment_s, position, state, seam, busy = row
            writer.writerow(
                [
                    f"{moment_s:.3f}",
                    *(f"{value:.6f}" for value in position),
                    ExecutionState(state).name,
                    int(seam),
                    int(busy),
                ]
            )
    return file
