# SPDX-License-Identifier: Apache-2.0
"""The tables of episodes and of bags, and what went wrong in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from policy_ros.replay.metrics import EpisodeMetrics, definitions_by_name
from policy_ros.replay.metrics.pool import Pool
from policy_ros.replay.report.page import Cell, Column, Problem, Row, Table
from policy_ros.replay.report.texts import NONE, number, plural, share
from policy_ros.replay.result import COMPLETE, FAILED, BagResult, ReplayResult

MOST_EPISODES = 2000  # rows of the table
MOST_PROBLEMS = 30  # of one bag

_SUCCESS = {None: NONE, True: "yes", False: "no"}
_METRICS = (
    # name, title, note
    ("mae", "MAE", "mean absolute error of predicted rows"),
    ("executed_mae", "executed MAE", "of the commands behind the gate"),
    ("seam_jump.max", "seam jump", "the largest"),
    ("acceleration.peak", "peak accel.", "acceleration"),
    ("jerk.peak", "peak jerk", ""),
    ("holds", "holds", ""),
    ("hold_time", "held [s]", ""),
    ("gate.clamped", "clamped", "commands that the gate changed"),
    ("deadline_misses", "misses", "of deadlines"),
    ("delay.mean", "delay", "mean [steps]"),
    ("coverage", "coverage", "share of its time with a command"),
)


def episodes_table(result: ReplayResult) -> tuple[Table, str]:
    """A row for each episode, and a note where some are left out."""
    columns = [
        Column("bag", text=True),
        Column("episode"),
        Column("task", text=True, wrap=True),
        Column("success", text=True, note="of what was recorded"),
        Column("length [s]"),
        *(Column(title, note=note) for _, title, note in _METRICS),
    ]
    if any(episode.problems for episode in result.episodes):
        columns.append(Column("problems", text=True, wrap=True))
    episodes = [(bag, episode) for bag in result.bags for episode in bag.episodes]
    note = ""
    if len(episodes) > MOST_EPISODES:
        note = f"The {MOST_EPISODES} with the largest error of {len(episodes)}; metrics.json has all."
        errors = [_metrics([episode], ("mae",))["mae"] or 0.0 for _, episode in episodes]
        worst = sorted(range(len(episodes)), key=lambda each: (-errors[each], each))[:MOST_EPISODES]
        episodes = [episodes[each] for each in sorted(worst)]
    rows = (_episode(bag, episode) for bag, episode in episodes)
    return Table(tuple(columns), tuple(replace(row, cells=row.cells[: len(columns)]) for row in rows)), note


def bags_table(result: ReplayResult) -> Table:
    """A row for each bag."""
    columns = (
        Column("bag", text=True),
        Column("status", text=True),
        Column("episodes"),
        Column("length [s]"),
        *(Column(title, note=note) for _, title, note in _METRICS),
        Column("problems", text=True, wrap=True),
    )
    return Table(columns, tuple(_bag(bag) for bag in result.bags))


def problems(result: ReplayResult) -> list[Problem]:
    """Everything that was not evaluated, or is not as it should be, bag by bag."""
    found = []
    for bag in result.bags:
        name = Path(bag.path).name
        lines = _lines(bag)
        found += [Problem(name, line) for line in lines[:MOST_PROBLEMS]]
        if len(lines) > MOST_PROBLEMS:
            found.append(Problem(name, f"and {plural(len(lines) - MOST_PROBLEMS, 'more line')} in metrics.json"))
    return found


def problems_title(result: ReplayResult) -> str:
    """Whether everything was evaluated, in one line."""
    count = len(result.bags)
    failed = sum(bag.status == FAILED for bag in result.bags)
    partial = sum(bag.status not in (COMPLETE, FAILED) for bag in result.bags)
    if not failed and not partial:
        return "The whole bag was evaluated" if count == 1 else f"All {count} bags were evaluated completely"
    if count == 1:
        return "The bag could not be evaluated" if failed else "The bag was evaluated, but not without problems"
    parts = [f"{failed} of {count} bags could not be evaluated"] if failed else []
    parts += [f"{partial} of {count} bags not without problems"] if partial else []
    return "; ".join(parts)


def _episode(bag: BagResult, episode: EpisodeMetrics) -> Row:
    length_s = (episode.stop_ns - episode.start_ns) * 1e-9
    return Row(
        (
            Cell(Path(bag.path).name),
            Cell(str(episode.index), episode.index),
            Cell(episode.task or NONE),
            Cell(_SUCCESS[episode.success]),
            Cell(f"{length_s:.1f}", length_s),
            *_metric_cells([episode]),
            Cell("; ".join(episode.problems) or NONE),
        ),
        bad=bool(episode.problems),
    )


def _bag(bag: BagResult) -> Row:
    return Row(
        (
            Cell(bag.path),
            Cell(bag.status),
            Cell(str(len(bag.episodes)), len(bag.episodes)),
            Cell(f"{bag.length_s:.1f}", bag.length_s),
            *_metric_cells(bag.episodes),
            Cell(bag.error or (plural(len(bag.problems), "line") + " above" if bag.problems else NONE)),
        ),
        bad=bag.status != COMPLETE,
    )


def _lines(bag: BagResult) -> list[str]:
    """Without the path that every line begins with."""
    lines = [line for line in (bag.error, *bag.problems) if line]
    return [line.removeprefix(f"{bag.path}: ") for line in lines]


def _metric_cells(episodes: Sequence[EpisodeMetrics]) -> list[Cell]:
    names = tuple(name for name, _, _ in _METRICS)
    return [
        Cell(share(value) if name == "coverage" else number(value), value)
        for name, value in _metrics(episodes, names).items()
    ]


def _metrics(episodes: Sequence[EpisodeMetrics], names: Sequence[str]) -> dict[str, float | None]:
    """Metrics of these episodes alone, without intervals; None for what does not exist."""
    if not episodes:
        return dict.fromkeys(names)
    pool = Pool(episodes)
    definitions = definitions_by_name(pool.joint_names)
    whole = np.ones((1, len(episodes)))
    values = {name: float(definitions[name].make(pool, "").estimate(whole)[0]) for name in names}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
