# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.execution.timeline import Timeline


def rows(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


@pytest.fixture
def timeline() -> Timeline:
    line = Timeline(1)
    line.replace(0, rows(10, 11, 12, 13))
    return line


def test_step_counts_consumed_rows(timeline: Timeline) -> None:
    assert [float(timeline.consume()[0]) for _ in range(3)] == [10, 11, 12]
    assert (timeline.step, timeline.remaining, timeline.end) == (3, 1, 4)


def test_row_zero_belongs_to_the_step_it_is_placed_at_and_past_rows_fall_away(timeline: Timeline) -> None:
    timeline.consume(), timeline.consume()
    timeline.replace(0, rows(20, 21, 22, 23, 24))
    assert timeline.remaining == 3
    assert float(timeline.consume()[0]) == 22


def test_rows_planned_before_the_replaced_ones_stay(timeline: Timeline) -> None:
    timeline.consume()
    timeline.replace(3, rows(30, 31))
    assert timeline.window(1, 10)[:, 0].tolist() == [11, 12, 30, 31]


def test_rows_that_all_passed_leave_nothing(timeline: Timeline) -> None:
    for _ in range(4):
        timeline.consume()
    timeline.replace(0, rows(20, 21))
    assert timeline.remaining == 0


def test_a_gap_is_refused(timeline: Timeline) -> None:
    with pytest.raises(ValueError, match="gap: the timeline ends at step 4"):
        timeline.replace(5, rows(50))


def test_rows_of_another_width_are_refused(timeline: Timeline) -> None:
    with pytest.raises(ValueError, match=r"shape \(N, 1\), got \(2, 3\)"):
        timeline.replace(0, np.zeros((2, 3), dtype=np.float32))


def test_rows_past_the_end_do_not_exist(timeline: Timeline) -> None:
    for _ in range(4):
        timeline.consume()
    with pytest.raises(IndexError):
        timeline.consume()
    assert timeline.step == 4


def test_past_steps_cannot_be_read(timeline: Timeline) -> None:
    timeline.consume()
    with pytest.raises(IndexError):
        timeline.row(0)
    with pytest.raises(IndexError):
        timeline.window(0, 1)


def test_window_is_cut_at_the_end(timeline: Timeline) -> None:
    assert timeline.window(2, 10).shape == (2, 1)
    assert timeline.window(4, 10).shape == (0, 1)


def test_clear_begins_at_step_zero(timeline: Timeline) -> None:
    timeline.consume()
    timeline.clear()
    assert (timeline.step, timeline.remaining) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_operations_agrees_with_a_dictionary_of_steps(seed: int) -> None:
    random = np.random.default_rng(seed)
    timeline, model, step = Timeline(1), {}, 0
    for _ in range(200):
        if random.random() < 0.3:
            first = int(random.integers(max(0, step - 6), timeline.end + 1))
            values = random.integers(0, 1000, random.integers(1, 12))
            timeline.replace(first, rows(*values))
            model = {k: v for k, v in model.items() if k < first} | dict(enumerate(values.tolist(), start=first))
        elif timeline.remaining:
            assert float(timeline.consume()[0]) == model[step]
            step += 1
        assert timeline.step == step
        assert timeline.window(step, 99)[:, 0].tolist() == [v for k, v in sorted(model.items()) if k >= step]
