# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from math import isnan

import pytest

from policy_ros.execution import SampleWindow


def test_nothing_measured_is_not_a_number() -> None:
    summary = SampleWindow().summary(0)
    assert summary.count == 0
    assert isnan(summary.newest) and isnan(summary.p50) and isnan(summary.p99)


def test_summary_has_newest_median_and_tail() -> None:
    window = SampleWindow()
    for value in range(101):
        window.append(float(value), value)
    summary = window.summary(100)
    assert (summary.newest, summary.p50, summary.count) == (100.0, 50.0, 101)
    assert summary.p99 == pytest.approx(99.0)


def test_old_samples_leave_even_when_nothing_new_comes() -> None:
    window = SampleWindow(duration_s=1.0)
    window.append(5.0, 0)
    assert window.summary(1_000_000_000).count == 1
    assert window.summary(1_000_000_001).count == 0


def test_capacity_bounds_the_window() -> None:
    window = SampleWindow(capacity=10)
    for value in range(1000):
        window.append(float(value), 0)
    assert window.summary(0).count == 10
