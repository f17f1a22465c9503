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
    """One CSV file, a line per control tick: commands, the arm, state, whether a chunk began or an inference ran."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{cell.policy}_{cell.way.replace(' ', '_')}_{cell.delay_ms:g}ms.csv"
    time_s = trace.period_s * np.arange(1, len(trace.positions))
    inferring = np.zeros(len(time_s), dtype=bool)
    for begin_s, end_s in trace.inferences_s:
        inferring |= (time_s > begin_s) & (time_s <= end_s)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        names = [f"{joint}_{what}_rad" for what in ("command", "arm") for joint in JOINTS]
        writer.writerow(["time_s", *names, "state", "seam", "inferring"])
        joints = np.concatenate([trace.commands, trace.positions], axis=1)[1:]
        for moment_s, values, state, seam, busy in zip(
            time_s, joints, trace.states, trace.seams, inferring, strict=True
        ):
            writer.writerow(
                [
                    f"{moment_s:.3f}",
                    *(f"{value:.6f}" for value in values),
                    ExecutionState(state).name,
                    int(seam),
                    int(busy),
                ]
            )
    return file
