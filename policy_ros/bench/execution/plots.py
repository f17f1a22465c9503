# SPDX-License-Identifier: Apache-2.0
"""Pictures of the benchmark: positions and accelerations across seams, and a summary over delay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from policy_ros.bench.execution.episode import Trace
from policy_ros.bench.execution.suite import Cell
from policy_ros.bench.execution.task import JOINTS, SIDES, ForkedPath
from policy_ros.errors import ConfigurationError

SHOWN_MS = (0.0, 100.0, 200.0)
_JOINT = JOINTS.index("shoulder")
_FROM_S, _LENGTH_S = 4.2, 3.6  # of the reference's time: the second fork
_STYLE: dict[str, tuple[str, str]] = {  # colours of Okabe and Ito, which the colour-blind can tell apart, and markers
    "sync": ("#000000", "o"),
    "overlap": ("#D55E00", "s"),
    "ensemble": ("#E69F00", "^"),
    "blend": ("#009E73", "D"),
    "rtc": ("#0072B2", "v"),
}
_REFERENCE, _BUSY, _ARM = "#BBBBBB", "#CCE3F2", "#666666"
_SETTINGS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#EEEEEE",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "policy_ros",  # the same file every time
}


def require_matplotlib() -> None:
    """Raise a ConfigurationError that says how to get it, if it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"--plots: expected matplotlib, which cannot be imported ({error}); run `pip install policy_ros[bench]` "
            "or `pip install matplotlib`"
        ) from error


class Gallery:
    """Collects what is to be drawn while the benchmark runs.

    Args:
        directory: of the pictures, made when they are drawn.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cells: list[Cell] = []
        self._traces: dict[tuple[str, str], dict[float, Trace]] = {}  # policy and mode to delay to trace

    def add(self, cell: Cell, trace: Trace) -> None:
        """Take a result; variants of a mode are left out."""
        if cell.way != cell.mode:
            return
        self._cells.append(cell)
        if cell.delay_ms in SHOWN_MS:
            self._traces.setdefault((cell.policy, cell.mode), {})[cell.delay_ms] = trace

    def draw(self) -> list[Path]:
        """Write a picture for each policy and mode, and a summary for each policy; returns the files."""
        self._directory.mkdir(parents=True, exist_ok=True)
        files = []
        with _matplotlib() as pyplot:
            for (policy, mode), traces in self._traces.items():
                figure = draw_seams(pyplot, mode, traces)
                files.append(self._save(pyplot, figure, f"execution_{policy}_{mode}.png"))
            for policy in dict.fromkeys(cell.policy for cell in self._cells):
                figure = draw_summary(pyplot, [cell for cell in self._cells if cell.policy == policy])
                files.append(self._save(pyplot, figure, f"execution_{policy}_summary.png"))
        return files

    def _save(self, pyplot: Any, figure: Any, name: str) -> Path:
        file = self._directory / name
        figure.savefig(file, dpi=110, metadata={"Software": None})
        pyplot.close(figure)
        return file


@contextmanager
def _matplotlib() -> Iterator[Any]:
    """pyplot without a display, with the style of these pictures."""
    require_matplotlib()
    import matplotlib
    from matplotlib import pyplot

    with matplotlib.rc_context(_SETTINGS):
        pyplot.switch_backend("agg")
        yield pyplot


def draw_seams(pyplot: Any, mode: str, traces: dict[float, Trace]) -> Any:
    """Position and acceleration of the shoulder around one obstacle, a column for each delay."""
    path = ForkedPath()
    figure, axes = pyplot.subplots(2, len(traces), figsize=(9.6, 4.2), sharex=True, sharey="row", squeeze=False)
    for column, (delay_ms, trace) in enumerate(sorted(traces.items())):
        _draw_column(axes[:, column], mode, trace, path)
        axes[0, column].set_title(f"{mode}, {delay_ms:g} ms")
        axes[1, column].set_xlabel("time [s]")
    axes[0, 0].set_ylabel(f"{JOINTS[_JOINT]} [rad]")
    axes[1, 0].set_ylabel("acceleration [rad/s²]")
    axes[1, 0].set_yscale("symlog", linthresh=10.0)
    axes[1, 0].set_ylim(-1500.0, 1500.0)
    axes[1, 0].set_yticks([-1000, -100, -10, 0, 10, 100, 1000])
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    figure.tight_layout(rect=(0.0, 0.06, 1.0, 1.0))
    return figure


def _draw_column(axes: Any, mode: str, trace: Trace, path: ForkedPath) -> None:
    above, below = axes
    colour = _STYLE[mode][0]
    first = int(np.argmax(trace.positions[:, 0] >= path.at(np.asarray(_FROM_S), SIDES[0])[0]))
    time_s = trace.period_s * (np.arange(len(trace.positions)) - first)
    shown = (time_s >= 0.0) & (time_s <= _LENGTH_S)
    for axis in axes:
        for begin_s, end_s in trace.inferences_s - trace.period_s * first:
            if end_s > begin_s and end_s > 0.0 and begin_s < _LENGTH_S:
                axis.axvspan(max(begin_s, 0.0), min(end_s, _LENGTH_S), color=_BUSY, lw=0)
    if trace.inferences_s.size and np.ptp(trace.inferences_s[0]) > 0.0:
        above.plot([], [], color=_BUSY, lw=6, label="inference runs")
    for side in SIDES:
        reference = path.at(path.progress_s(trace.positions), side)[:, _JOINT]
        label = "the two ways" if side == SIDES[0] else None
        above.plot(time_s[shown], reference[shown], color=_REFERENCE, lw=1.0, label=label)
    above.plot(time_s[shown], trace.positions[shown, _JOINT], color=_ARM, lw=1.0, ls="--", label="arm")
    above.plot(time_s[shown], trace.commands[shown, _JOINT], color=colour, lw=1.4, label="commands")
    seams = np.flatnonzero(trace.seams) + 1
    seams = seams[shown[seams]]
    many = len(seams) > len(time_s[shown]) / 4
    if not many:
        above.plot(time_s[seams], trace.commands[seams, _JOINT], "o", ms=3.5, mfc="white", color=colour, label="seam")
    acceleration = np.diff(trace.commands[:, _JOINT], 2, prepend=[trace.commands[0, _JOINT]] * 2) / trace.period_s**2
    below.plot(time_s[shown], acceleration[shown], color=colour, lw=1.0)
    if not many:
        below.plot(time_s[seams], acceleration[seams], "o", ms=3.5, mfc="white", color=colour)


def draw_summary(pyplot: Any, cells: list[Cell]) -> Any:
    """Seam jump, peak acceleration, task time and success over delay, a line for each mode."""
    panels = (
        ("largest seam jump [mrad]", "seam_jump_rad", 1e3, "log"),
        ("peak acceleration [rad/s²]", "peak_acceleration", 1.0, "log"),
        ("task time [s]", "task_time_s", 1.0, "linear"),
        ("success [%]", "success", 100.0, "linear"),
    )
    figure, axes = pyplot.subplots(1, len(panels), figsize=(11.0, 3.2))
    for axis, (label, name, factor, scale) in zip(axes, panels, strict=True):
        for mode in dict.fromkeys(cell.mode for cell in cells):
            points = sorted(
                (cell.delay_ms, factor * getattr(cell.summary, name)) for cell in cells if cell.mode == mode
            )
            colour, marker = _STYLE[mode]
            axis.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=4, lw=1.3, label=mode)
        axis.set_title(label, fontsize=9)
        axis.set_yscale(scale)
        if scale == "log":
            axis.set_ylim(10.0, 1000.0)
            axis.set_yticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1000"], minor=False)
            axis.minorticks_off()
        axis.set_xlabel("inference delay [ms]")
    axes[-1].set_ylim(-5.0, 105.0)
    axes[-2].set_ylim(bottom=0.0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    figure.tight_layout(rect=(0.0, 0.08, 1.0, 1.0))
    return figure
