# SPDX-License-Identifier: Apache-2.0
"""The report tells what was found, good or bad."""

from __future__ import annotations

from soaking.growth import Usage
from soaking.referee import Violation
from soaking.report import Result, Series, growth_problems, introduction, markdown


def result(violations: tuple[Violation, ...] = (), series: tuple[Series, ...] = ()) -> Result:
    return Result(
        seed=7,
        duration_s=600.0,
        asked_s=600.0,
        done={"camera drop-out": 12},
        totals={"chunks": 900, "holds": 5},
        holds={"STREAM_EXPIRED": 5},
        resets=1,
        swaps=1,
        activations=4,
        commands=30000,
        lost=2,
        lasting={"camera drop-out": 6},
        worst_s={"camera drop-out": 0.81},
        bound_s={"camera drop-out": 0.95},
        slack_s=0.3,
        series=series,
        violations=violations,
        violation_count=len(violations),
        out_of_order=0,
        left=(),
    )


def life(memory_mb) -> Series:
    return Series("node", 123, [Usage(2.0 * i, memory_mb(i), 18, 23) for i in range(600)])


def test_a_good_run_is_told_with_its_numbers():
    text = markdown(result(series=(life(lambda i: 400.0),)))
    assert "**passed**: seed 7, 10.0 of 10.0 minutes, 12 actions, 30000 commands checked" in text
    assert "| camera drop-out | 6 | 0.810 | 0.950 |" in text
    assert "| node | 20 | 400.0 → 400.0 | 18 → 18 | 23 → 23 |" in text
    assert "## Violations\n\nNone." in text


def test_a_violation_fails_the_run_and_is_told_with_what_was_done():
    text = markdown(result((Violation(0.0, "limits", "a step too large", "a drop-out"),)))
    assert text.startswith("**FAILED**")
    assert "| limits | a step too large | a drop-out |" in text


def test_the_memory_of_a_short_life_is_told_in_brackets():
    short = Series("node", 123, life(lambda i: 400.0).samples[:200])
    assert "| node | 7 | (400.0 → 400.0) | 18 → 18 | 23 → 23 |" in markdown(result(series=(short,)))


def test_growth_names_the_process():
    assert growth_problems([life(lambda i: 400.0)]) == []
    (line,) = growth_problems([life(lambda i: 400.0 + i)])
    assert line.startswith("node (process 123): memory grew by")


def test_the_introduction_says_how_to_run_it():
    assert 'make soak ARGS="--minutes 60' in introduction()
