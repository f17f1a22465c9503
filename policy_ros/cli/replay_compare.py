# SPDX-License-Identifier: Apache-2.0
"""``policy-ros replay compare A B``: paired differences between two replays of the same bags."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policy_ros.replay.comparison import Comparison, MetricComparison
    from policy_ros.replay.metrics import Value
    from policy_ros.replay.result import ReplayResult

DESCRIPTION = (
    "Compares two results of `policy-ros replay` on the same bags, two checkpoints or two modes, episode by episode: "
    "B - A of every metric with the 95 % interval of the paired difference; docs/replay-metrics.md."
)
EPILOG = (
    "Exit status: 0; 1 the two cannot be compared; 2 usage; 3 a --fail-if condition holds. In conditions A.mae and "
    "B.mae are the values, difference.mae or plain mae is B - A; .low and .high are the bounds of the interval, so "
    "--fail-if 'mae.low > 0' fails only where B is clearly worse."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``policy-ros replay compare`` takes."""
    parser.add_argument("a", metavar="A", type=Path, help="output directory of a replay, or its metrics.json")
    parser.add_argument("b", metavar="B", type=Path, help="another, of the same bags")
    parser.add_argument(
        "--fail-if", metavar="EXPR", action="append", default=[], help="e.g. 'mae > 0.002'; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap; default 0")
    parser.add_argument("--all", action="store_true", help="print every metric, also of single joints and those at 0")
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout and nothing else"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Compare and print; the exit status."""
    from policy_ros.replay.comparison import ComparisonError, compare, read_result
    from policy_ros.replay.metrics import failures, parse_condition

    conditions = [parse_condition(text) for text in arguments.fail_if]
    try:
        a, b = read_result(arguments.a), read_result(arguments.b)
        comparison = compare(a, b, seed=arguments.seed)
    except ComparisonError as error:
        print(f"policy-ros replay compare: {error}", file=sys.stderr)
        return 1
    values = comparison.values()
    for condition in conditions:
        condition.require_known(values)
    failed = failures(conditions, values)
    if getattr(arguments, "json", False):
        sides = {"A": _describe(arguments.a, a), "B": _describe(arguments.b, b)}
        print(json.dumps({**sides, **comparison.as_json(), "failed": failed}, allow_nan=False))
    else:
        print(_heading(arguments, a, b, comparison))
        print("\n".join(table(comparison, everything=arguments.all)))
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 3 if failed else 0


def _describe(path: Path, result: ReplayResult) -> dict[str, Any]:
    return {"path": str(path), "policy": dict(result.policy), "options": dict(result.options)}


def _heading(arguments: argparse.Namespace, a: ReplayResult, b: ReplayResult, comparison: Comparison) -> str:
    lines = [
        f"{side}: {path} ({', '.join(str(part) for part in (result.policy.get('path'), result.options.get('mode')))})"
        for side, path, result in (("A", arguments.a, a), ("B", arguments.b, b))
    ]
    lines += [f"{comparison.episodes} episodes in both", *comparison.notes]
    return "\n".join(lines) + "\n"


def table(comparison: Comparison, *, everything: bool) -> list[str]:
    """A line for every metric, or only for those of all joints that say something."""
    shown = [metric for metric in comparison.metrics if everything or _tells(metric)]
    rows = [("metric", "A", "B", "B - A", "95 % interval", "unit", "B is")]
    rows += [
        (
            metric.name,
            _number(metric.a.value),
            _number(metric.b.value),
            _signed(metric.difference.value),
            _interval(metric.difference),
            metric.a.unit,
            metric.verdict.value,
        )
        for metric in shown
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if 1 <= column <= 4 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _tells(metric: MetricComparison) -> bool:
    from policy_ros.replay.metrics import DEFINITIONS

    if metric.a.value in (None, 0.0) and metric.b.value in (None, 0.0):
        return False
    plain = {definition.name for definition in DEFINITIONS}
    return metric.name in plain or metric.name.startswith(("holds.", "hold_time.", "without_commands."))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4g}"


def _interval(value: Value) -> str:
    return "-" if value.low is None else f"{_signed(value.low)} to {_signed(value.high)}"
