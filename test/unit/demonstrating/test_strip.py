# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from demonstrating.film import Film
from demonstrating.strip import COLUMNS, GAP, MOMENTS, PANEL, save_strip

from policy_ros.errors import PolicyRosError


def film(pictures: int) -> Film:
    """Ever brighter pictures, ten in a second."""
    result = Film()
    for i in range(pictures):
        picture = np.full((480, 640, 3), 20 + 2 * i, np.uint8)
        result.add(cv2.imencode(".jpg", picture)[1].tobytes(), 5_000_000_000 + i * 100_000_000)
    return result


def test_strip_shows_moments_from_the_first_to_the_last_in_rows(tmp_path: Path):
    save_strip(tmp_path / "strip.png", film(100))
    strip = cv2.imread(str(tmp_path / "strip.png"))
    height, width = PANEL
    rows = -(-MOMENTS // COLUMNS)
    assert strip.shape == (rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3)
    middles = [
        float(strip[(height + GAP) * r + height // 2, (width + GAP) * c + width // 2].mean())
        for r in range(rows)
        for c in range(COLUMNS)
    ]
    assert middles == pytest.approx(np.linspace(20, 218, MOMENTS), abs=4)
    assert np.all(strip[0, 0] > 240), "round corners on white"


def test_times_count_from_the_first_picture():
    assert film(31).times_s[::10] == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_film_that_is_too_short_is_refused(tmp_path: Path):
    with pytest.raises(PolicyRosError, match="expected at least 8 pictures, got 7"):
        save_strip(tmp_path / "strip.png", film(7))
