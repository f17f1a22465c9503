# SPDX-License-Identifier: Apache-2.0
"""What is expected of the modes, each compared with what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from policy_ros.bench.execution.metrics import Summary
from policy_ros.bench.execution.suite import Cell
from policy_ros.bench.execution.task import PERIOD_S

AT_MS = 200.0
SMALL_MS = 100.0  # delays at which a soft mask is to be at least as good as a hard one
_ROUNDING_S = 1e-9


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        policy: of the episodes.
        expected: in words.
        measured: in words, with the numbers.
        holds: whether it came out as expected.
    """

    policy: str
    expected: str
    measured: str
    holds: bool


def findings(cells: Sequence[Cell]) -> list[Finding]:
    """All comparisons that these cells allow."""
    found = []
    for policy in dict.fromkeys(cell.policy for cell in cells):
        table = {(cell.way, cell.delay_ms): cell.summary for cell in cells if cell.policy == policy}
        for check in (_seams, _rtc_time, _sync_time, _sync_success, _rtc_success, _masks):
            found += [Finding(policy, *result) for result in check(table)]
    return found


Table = dict[tuple[str, float], Summary]
Result = tuple[str, str, bool]


def _seams(table: Table) -> Iterator[Result]:
    overlap, rtc = table.get(("overlap", AT_MS)), table.get(("rtc", AT_MS))
    if overlap is None or rtc is None:
        return
    for label, name in (("jump", "seam_jump_rad"), ("excess", "seam_excess_rad")):
        theirs, ours = getattr(overlap, name), getattr(rtc, name)
        ratio = theirs / ours if ours > 0.0 else np.inf
        yield (
            f"largest seam {label} at {AT_MS:g} ms: rtc's at least 5 times smaller than overlap's",
            f"{ours:.4f} and {theirs:.4f} rad, {ratio:.1f} times",
            bool(ratio >= 5.0),
        )


def _rtc_time(table: Table) -> Iterator[Result]:
    base, late = table.get(("rtc", 0.0)), table.get(("rtc", AT_MS))
    if base is None or late is None:
        return
    growth = late.task_time_s / base.task_time_s - 1.0
    yield (
        f"task time of rtc from 0 to {AT_MS:g} ms: grows by less than 2 %",
        f"{base.task_time_s:.2f} to {late.task_time_s:.2f} s, {growth:+.1%}",
        bool(growth < 0.02),
    )


def _sync_time(table: Table) -> Iterator[Result]:
    base = table.get(("sync", 0.0))
    delays = sorted(delay for way, delay in table if way == "sync" and delay > 0.0)
    if base is None or not delays:
        return
    # A row is due only on a tick, so each inference costs whole periods.
    worst = 0.0
    for delay in delays:
        late = table[("sync", delay)]
        pauses = late.task_time_s - base.task_time_s
        expected = np.floor(delay * 1e-3 / PERIOD_S + _ROUNDING_S) * PERIOD_S * late.inferences
        worst = max(worst, abs(pauses / expected - 1.0))
    last = table[("sync", delays[-1])]
    yield (
        "task time of sync: grows by one delay for every inference, hence linearly",
        f"{base.task_time_s:.2f} to {last.task_time_s:.2f} s at {delays[-1]:g} ms, off by at most {worst:.1%}",
        bool(worst < 0.01),
    )


def _sync_success(table: Table) -> Iterator[Result]:
    shares = [summary.success for (way, _), summary in table.items() if way == "sync"]
    if len(shares) > 1:
        yield (
            "success of sync: that without delay, whatever the delay",
            f"{min(shares):.0%} to {max(shares):.0%}",
            min(shares) == max(shares),
        )


def _rtc_success(table: Table) -> Iterator[Result]:
    yield from _compare_success(table, "rtc", "overlap", np.inf, "success of rtc: over all delays at least overlap's")


def _masks(table: Table) -> Iterator[Result]:
    expected = "success of the soft mask: over small delays at least the hard one's"
    yield from _compare_success(table, "rtc", "rtc hard mask", SMALL_MS, expected)


def _compare_success(table: Table, ours: str, theirs: str, up_to_ms: float, expected: str) -> Iterator[Result]:
    """Over all delays together: a few episodes do not tell one delay's success from another's."""
    both = sorted(delay for way, delay in table if way == ours and delay <= up_to_ms and (theirs, delay) in table)
    if both:
        one, other = ([table[(way, delay)].success for delay in both] for way in (ours, theirs))
        measured = f"{_percents(one)} and {_percents(other)} at {_numbers(both)} ms"
        yield expected, measured, bool(np.mean(one) >= np.mean(other))


def _percents(shares: Sequence[float]) -> str:
    return ", ".join(f"{100.0 * share:.0f}" for share in shares) + " %"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
