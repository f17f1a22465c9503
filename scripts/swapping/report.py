# SPDX-License-Identifier: Apache-2.0
"""What was measured, in Markdown."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swapping.judging import Periods
    from swapping.main import Result, Swap


def markdown(result: Result) -> str:
    """Tables and a verdict."""
    options = result.options
    second = options.second.name if options.second else "diffusion"
    lines = [
        f"{len(result.swaps)} swaps between {options.first.name} and {second}, "
        f"{len(result.broken)} that must fail; mode {options.mode}, real-time priority {options.realtime_priority}, "
        f"{len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[1]:.1f}",
        "",
        "| commands | period p50 | p99 | longest | missing | periods |",
        "|---|---:|---:|---:|---:|---:|",
        _periods("while swapping", result.swapping),
        _periods("while a swap fails", result.failing),
        _periods("in between", result.between),
        "",
        "Periods as multiples of the nominal one.",
        "",
        "| output | largest speed / limit | largest acceleration / limit | commands beyond |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {steps.speed:.3f} | {steps.acceleration:.3f} | {steps.beyond} |"
        for name, steps in result.steps.items()
    ]
    lines += ["", f"Holds: {result.holds}. Ticks that the node itself skipped: {result.missed}.", ""]
    lines += _memory(result) + _times(result.swaps) + _refusals(result.broken)
    lines += [f"PROBLEM: {problem}" for problem in result.problems] or ["No problems."]
    return "\n".join(lines) + "\n"


def _periods(name: str, periods: Periods | None) -> str:
    if periods is None or not periods.count:
        return f"| {name} | | | | | 0 |"
    return (
        f"| {name} | {periods.p50:.3f} | {periods.p99:.3f} | {periods.longest:.2f} | {periods.missed} | "
        f"{periods.count} |"
    )


def _memory(result: Result) -> list[str]:
    by_policy: dict[str, list[float]] = {}
    for swap in result.swaps:
        by_policy.setdefault(swap.wanted, []).append(swap.memory_mb)
    lines = [f"Resident memory before [MB]: {result.first_mb:.1f}. After each swap to"]
    lines += [
        f"* {name}: {', '.join(f'{value:.1f}' for value in values)}" for name, values in sorted(by_policy.items())
    ]
    return [*lines, ""]


def _times(swaps: list[Swap]) -> list[str]:
    if not swaps:
        return []
    answers = sorted(swap.answer_s * 1e3 for swap in swaps)
    whole = sorted(swap.end_s - swap.begin_s for swap in swaps)
    return [
        f"The set is answered after {statistics.median(answers):.0f} ms (at most {answers[-1]:.0f}); from it to the "
        f"other policy's commands, and a second: {statistics.median(whole):.2f} s (at most {whole[-1]:.2f}).",
        "",
    ]


def _refusals(broken: list[Swap]) -> list[str]:
    counts = Counter(swap.wanted for swap in broken)
    reasons = {swap.wanted: swap.refusal for swap in broken}
    return [*(f"* {kind} ({count}x): {reasons[kind]}" for kind, count in sorted(counts.items())), ""]
