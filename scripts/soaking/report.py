# SPDX-License-Identifier: Apache-2.0
"""What a soak has found: a line while it runs, a summary at its end, and the same as Markdown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soaking.growth import MAX_FILES_GROWTH, MAX_MEMORY_GROWTH_MB, MEMORY_WARM_UP_S, Usage, growth
from soaking.referee import Violation

ROWS = 13  # of the table of memory over time
MAX_LISTED = 20  # violations


@dataclass
class Series:
    """What one process had, from its start to its end."""

    name: str
    pid: int
    samples: list[Usage] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """Everything a summary tells.

    Attributes:
        seed: of the schedule.
        duration_s: that was run.
        asked_s: that was asked for.
        done: actions by label.
        totals: counters of the status, over all activations.
        holds: by cause.
        resets: latched holds that were reset, and resets for their own sake.
        swaps: policies that took over from another.
        activations: after which the node had exactly one endpoint on each of its topics.
        commands: checked.
        lost: published and not seen.
        lasting: kind of fault to how often it lasted longer than its T.
        worst_s: kind of fault to the longest time until the last command [s].
        bound_s: kind of fault to T [s].
        slack_s: added to every T [s].
        series: memory, threads and files of the processes, the node's and the robot's.
        violations: what was broken.
        violation_count: also of those that are not listed.
        out_of_order: events that came too late to be put in order.
        left: what remained in the system.
    """

    seed: int
    duration_s: float
    asked_s: float
    done: Mapping[str, int]
    totals: Mapping[str, int]
    holds: Mapping[str, int]
    resets: int
    swaps: int
    activations: int
    commands: int
    lost: int
    lasting: Mapping[str, int]
    worst_s: Mapping[str, float]
    bound_s: Mapping[str, float]
    slack_s: float
    series: Sequence[Series]
    violations: Sequence[Violation]
    violation_count: int
    out_of_order: int
    left: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return self.violation_count == 0


def growth_problems(series: Sequence[Series]) -> list[str]:
    """What has grown in any process."""
    found = []
    for process in series:
        grown = growth(process.samples)
        if grown is not None:
            found += [f"{process.name} (process {process.pid}): {problem}" for problem in grown.problems()]
    return found


def introduction() -> str:
    """What a soak is, for the top of the file."""
    return Path(__file__).with_name("introduction.md").read_text() + "\n"


def markdown(result: Result) -> str:
    """The report without its introduction."""
    sections = (
        _head(result),
        _section("What was done", _table(("action", "times"), sorted(result.done.items()))),
        _section("Holds by cause", _table(("cause", "times"), sorted(result.holds.items()))),
        _section("From a lasting fault to the last command", _latencies(result)),
        _section("Memory, threads, open files", _growth(result)),
        _section("The node over time", _over_time(result)),
        _section("Violations", _violations(result)),
    )
    return "\n".join(sections)


def _head(result: Result) -> str:
    verdict = "passed" if result.passed else "FAILED"
    totals = result.totals
    return (
        f"**{verdict}**: seed {result.seed}, {result.duration_s / 60:.1f} of {result.asked_s / 60:.1f} minutes, "
        f"{sum(result.done.values())} actions, {result.commands} commands checked "
        f"({result.lost} more published that did not reach the observer), {result.violation_count} violations.\n\n"
        f"{totals.get('chunks', 0)} chunks ({totals.get('chunks_guided', 0)} guided, "
        f"{totals.get('chunks_late', 0)} too late, {totals.get('chunks_rejected', 0)} rejected), "
        f"{totals.get('inference_errors', 0)} exceptions, {totals.get('holds', 0)} holds, "
        f"{result.resets} resets, {result.swaps} swaps. "
        f"{result.activations} activations, after each exactly one endpoint of the node on each of its topics.\n"
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "None.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _latencies(result: Result) -> str:
    rows = [
        (kind, result.lasting[kind], f"{worst_s:.3f}", f"{result.bound_s[kind]:.3f}")
        for kind, worst_s in sorted(result.worst_s.items())
    ]
    note = f"Allowed is T and {result.slack_s:g} s for transport and scheduling on a busy machine.\n\n"
    return note + _table(("fault", "lasted beyond T", "longest [s]", "T [s]"), rows)


def _growth(result: Result) -> str:
    rows = []
    for process in result.series:
        grown = growth(process.samples)
        if grown is None:
            continue
        minutes = (process.samples[-1].time_s - process.samples[0].time_s) / 60
        first, last = grown.first, grown.last
        memory = f"{first.memory_mb:.1f} → {last.memory_mb:.1f}"
        rows.append(
            (
                process.name,
                f"{minutes:.0f}",
                memory if grown.judges_memory else f"({memory})",
                f"{first.threads} → {last.threads}",
                f"{first.files} → {last.files}",
            )
        )
    note = (
        "Medians of the first and the last third of each process's life after its warm-up, taken while the node "
        f"commands undisturbed. Allowed: {MAX_MEMORY_GROWTH_MB:g} MB, no thread, {MAX_FILES_GROWTH} files. The memory "
        f"of a process that lived less than {3 * MEMORY_WARM_UP_S / 60:g} minutes (in brackets) is not judged, because "
        f"the first {MEMORY_WARM_UP_S / 60:g} minutes are warm-up; one too short-lived to tell is left out.\n\n"
    )
    return note + _table(("process", "minutes", "memory [MB]", "threads", "files"), rows)


def _over_time(result: Result) -> str:
    samples = [(process, sample) for process in result.series if process.name == "node" for sample in process.samples]
    if not samples:
        return "None.\n"
    start_s = samples[0][1].time_s
    picked = [samples[round(i * (len(samples) - 1) / (ROWS - 1))] for i in range(ROWS)]
    rows = [
        (f"{(sample.time_s - start_s) / 60:.1f}", process.pid, f"{sample.memory_mb:.1f}", sample.threads, sample.files)
        for process, sample in picked
    ]
    return _table(("minute", "process", "memory [MB]", "threads", "files"), rows)


def _violations(result: Result) -> str:
    if result.passed:
        return "None.\n"
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(found.time_s)), found.check, found.text, found.context)
        for found in result.violations[:MAX_LISTED]
    ]
    more = result.violation_count - len(rows)
    return _table(("at", "promise", "what", "while"), rows) + (f"\nand {more} more\n" if more > 0 else "")
