# SPDX-License-Identifier: Apache-2.0
"""One episode as a picture: moments from the first to the last, in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from demonstrating.film import Film
from policy_ros.errors import PolicyRosError

Image = NDArray[np.uint8]

MOMENTS, COLUMNS = 8, 4
PANEL = (240, 320)  # (height, width) of one moment
GAP, RADIUS = 12, 14
_PAPER = (255, 255, 255)
_INK = (44, 38, 34)  # BGR
_SCALE = 2  # drawn so much larger, then made smaller: smooth edges
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def save_strip(file: Path, film: Film) -> None:
    """Write the PNG; raises PolicyRosError if the film is too short."""
    if len(film.pictures) < MOMENTS:
        raise PolicyRosError(f"picture strip: expected at least {MOMENTS} pictures, got {len(film.pictures)}")
    chosen = np.linspace(0, len(film.pictures) - 1, MOMENTS).round().astype(int)
    panels = [panel(decode(film.pictures[i]), f"{film.times_s[i]:.1f} s") for i in chosen]
    cv2.imwrite(str(file), arrange(panels), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def decode(jpeg: bytes) -> Image:
    """BGR."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


def panel(picture: Image, label: str) -> Image:
    """One moment with round corners and its time in a corner, ``(*PANEL, 3)`` BGR."""
    height, width = PANEL[0] * _SCALE, PANEL[1] * _SCALE
    canvas = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    scale, stroke, margin, pad = 0.56 * _SCALE, 1 * _SCALE, 10 * _SCALE, 8 * _SCALE
    (text_width, text_height), _ = cv2.getTextSize(label, _FONT, scale, stroke)
    left, bottom = margin, height - margin
    tag = rounded((text_height + 2 * pad, text_width + 2 * pad), radius=(text_height + 2 * pad) // 2)
    area = canvas[bottom - tag.shape[0] : bottom, left : left + tag.shape[1]]
    area[:] = blend(area, _PAPER, 0.88 * tag)
    cv2.putText(canvas, label, (left + pad, bottom - pad), _FONT, scale, _INK, stroke, cv2.LINE_AA)
    canvas = blend(np.full_like(canvas, _PAPER), canvas, rounded((height, width), RADIUS * _SCALE))
    return np.asarray(cv2.resize(canvas, (PANEL[1], PANEL[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def rounded(size: tuple[int, int], radius: int) -> NDArray[np.float32]:
    """Mask of a rectangle (height, width) with round corners, 0 to 1, ``(H, W, 1)``."""
    height, width = size
    rows = np.maximum(0, np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius))
    columns = np.maximum(0, np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius))
    distance = np.hypot(rows[:, None], columns[None, :])
    return np.clip(radius - distance + 0.5, 0.0, 1.0).astype(np.float32)[:, :, None]


def blend(below: Image, above: Image | tuple[int, int, int], mask: NDArray[np.float32]) -> Image:
    """``above`` where the mask is 1."""
    mixed = below * (1.0 - mask) + np.asarray(above, dtype=np.float32) * mask
    return np.asarray(mixed.round(), dtype=np.uint8)


def arrange(panels: Sequence[Image]) -> Image:
    """Rows of panels with gaps between them."""
    rows = [panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)]
    height, width = PANEL
    sheet = np.full((len(rows) * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3), _PAPER, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = r * (height + GAP), c * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet
