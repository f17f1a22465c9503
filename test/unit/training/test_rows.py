# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from policy_ros.training.rows import RowWindow


def test_a_full_window_is_its_rows_wherever_it_has_moved_to():
    window = RowWindow(horizon=3, dim=2)
    rows = np.arange(40.0).reshape(20, 2)
    for index, row in enumerate(rows):
        window.append(row)
        if len(window) == 3:
            chunk, is_pad = window.chunk()
            np.testing.assert_array_equal(chunk, rows[index - 2 : index + 1])
            assert not is_pad.any()
            window.popleft()


def test_padding_repeats_the_last_row():
    window = RowWindow(horizon=4, dim=1)
    window.append(np.array([1.0]))
    window.append(np.array([2.0]))
    chunk, is_pad = window.chunk()
    assert chunk.tolist() == [[1.0], [2.0], [2.0], [2.0]]
    assert is_pad.tolist() == [False, False, True, True]


def test_nothing_behind_an_unknown_row_is_used():
    window = RowWindow(horizon=4, dim=1)
    for value in (1.0, None, 3.0, 4.0):
        window.append(None if value is None else np.array([value]))
    chunk, is_pad = window.chunk()
    assert chunk.tolist() == [[1.0]] * 4
    assert is_pad.tolist() == [False, True, True, True]


def test_with_an_unknown_row_in_front_all_is_padding():
    window = RowWindow(horizon=2, dim=1)
    window.append(None)
    window.append(np.array([1.0]))
    assert window.chunk()[1].all()


def test_a_chunk_keeps_its_rows_when_the_window_moves_on():
    window = RowWindow(horizon=1, dim=1)
    window.append(np.array([1.0]))
    chunk, _ = window.chunk()
    window.popleft()
    for value in range(10):
        window.append(np.array([float(value)]))
        window.popleft()
    assert chunk.tolist() == [[1.0]]


def test_past_rows_come_before_the_front_wherever_the_window_has_moved_to():
    window = RowWindow(horizon=2, dim=1, past=3)
    for index in range(40):
        window.append(np.array([float(index)]))
        if len(window) == 2:
            chunk, is_pad = window.chunk()
            front = index - 1
            assert chunk[:, 0].tolist() == [max(0, front + i) for i in range(-3, 2)]
            assert is_pad.tolist() == [front + i < 0 for i in range(-3, 2)]
            window.popleft()


def test_nothing_before_an_unknown_past_row_is_used():
    window = RowWindow(horizon=1, dim=1, past=3)
    for value in (1.0, None, 3.0, 4.0):
        window.append(None if value is None else np.array([value]))
    for _ in range(3):
        window.popleft()
    chunk, is_pad = window.chunk()
    assert chunk.tolist() == [[3.0], [3.0], [3.0], [4.0]]
    assert is_pad.tolist() == [True, True, False, False]


def test_past_rows_are_padding_too_where_the_front_is_unknown():
    window = RowWindow(horizon=1, dim=1, past=1)
    for value in (1.0, None):
        window.append(None if value is None else np.array([value]))
    window.popleft()
    assert window.chunk()[1].all()
