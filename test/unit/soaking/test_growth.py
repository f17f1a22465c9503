# SPDX-License-Identifier: Apache-2.0
"""Growth of a process is told from its noise."""

from __future__ import annotations

import os

from soaking.growth import MAX_MEMORY_GROWTH_MB, Usage, growth, usage


def series(memory_mb=lambda i: 400.0, threads=lambda i: 18, files=lambda i: 23, count: int = 900) -> list[Usage]:
    return [Usage(2.0 * i, memory_mb(i), threads(i), files(i)) for i in range(count)]


def problems(samples: list[Usage]) -> list[str]:
    grown = growth(samples)
    assert grown is not None
    return grown.problems()


def test_a_steady_process_has_no_problem():
    assert problems(series(memory_mb=lambda i: 400.0 + i % 7)) == []


def test_growth_during_the_warm_up_and_single_peaks_do_not_count():
    assert problems(series(memory_mb=lambda i: 300.0 if i < 150 else 400.0)) == []
    assert problems(series(memory_mb=lambda i: 900.0 if i % 50 == 0 else 400.0)) == []


def test_memory_that_grows_steadily_is_found():
    (line,) = problems(series(memory_mb=lambda i: 400.0 + 2.5 * MAX_MEMORY_GROWTH_MB * i / 900))
    assert "memory grew" in line


def test_one_thread_more_is_found():
    (line,) = problems(series(threads=lambda i: 18 + (i > 540)))
    assert "threads grew from 18 to 19" in line


def test_open_files_that_are_not_closed_are_found():
    (line,) = problems(series(files=lambda i: 23 + i // 60))
    assert "open files grew" in line


def test_the_memory_of_a_short_life_is_not_judged_but_its_threads_are():
    assert problems(series(memory_mb=lambda i: 300.0 + i, count=300)) == []
    (line,) = problems(series(threads=lambda i: 18 + (i > 180), count=300))
    assert "threads" in line


def test_a_life_of_a_moment_says_nothing():
    assert growth(series(count=30)) is None
    assert growth([]) is None


def test_usage_of_a_process_is_read_and_that_of_none_is_none():
    mine = usage(os.getpid(), 1.0)
    assert mine is not None and mine.memory_mb > 5.0 and mine.threads >= 1 and mine.files >= 3
    assert usage(2**22 + 1, 1.0) is None
