# SPDX-License-Identifier: Apache-2.0
"""Antialiased shapes given in metres, drawn into a picture through a camera's affine map; OpenCV, no OpenGL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Place = Sequence[float] | NDArray[np.float64]  # (x, y) [m]

_FRACTION_BITS = 4  # of OpenCV's fixed point coordinates


class Canvas:
    """A picture ``(H, W, 3)`` RGB and the ``(2, 3)`` map from metres to its pixels."""

    def __init__(self, image: Image, matrix: NDArray[np.float64]) -> None:
        self.image = image
        self._matrix = matrix

    def to_pixels(self, points: Points) -> Points:
        """``(N, 2)`` metres to ``(N, 2)`` (column, row)."""
        pixels: Points = points @ self._matrix[:, :2].T + self._matrix[:, 2]
        return pixels

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a convex polygon, ``(N, 2)`` [m]."""
        cv2.fillConvexPoly(self.image, _fixed_point(self.to_pixels(points)), colour, cv2.LINE_AA, _FRACTION_BITS)

    def disc(self, centre: Place, radius: float, colour: Colour) -> None:
        """Fill a circle [m]."""
        self.polygon(circle(centre, radius), colour)

    def capsule(self, start: Place, end: Place, radius: float, colour: Colour) -> None:
        """Fill a bar with round ends [m]."""
        self.polygon(capsule(start, end, radius, radius), colour)

    def shade(self, shapes: Sequence[Points], strength: float, blur: float, coarse: int = 4) -> None:
        """Darken below ``shapes`` by ``strength`` (0 to 1) with edges ``blur`` [m] soft.

        The shadow is computed on a grid ``coarse`` times as wide as the pixels and only around the shapes.
        """
        pixels = [self.to_pixels(shape) for shape in shapes]
        sigma = blur * float(np.sqrt(abs(np.linalg.det(self._matrix[:, :2])))) / coarse
        margin = int(3 * sigma + 2) * coarse
        low = np.floor(np.min([p.min(axis=0) for p in pixels], axis=0)).astype(int) - margin
        high = np.ceil(np.max([p.max(axis=0) for p in pixels], axis=0)).astype(int) + margin
        low = np.maximum(low, 0)
        high = np.minimum(high, (self.image.shape[1], self.image.shape[0]))
        width, height = int(high[0] - low[0]), int(high[1] - low[1])
        if width <= 0 or height <= 0:
            return
        # The mask reaches beyond the picture, so that a shadow cut by its edge is not softened there.
        pad = margin // coarse
        mask = np.full((height // coarse + 2 * pad + 1, width // coarse + 2 * pad + 1), 255, dtype=np.uint8)
        level = round(255 * (1.0 - strength))
        for p in pixels:
            corners = (p - low + 0.5) / coarse - 0.5 + pad
            cv2.fillConvexPoly(mask, _fixed_point(corners), level, cv2.LINE_AA, _FRACTION_BITS)
        cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.3), dst=mask)
        # pixel u of the region lies at (u + 0.5) / coarse - 0.5 + pad of the mask
        offset = 0.5 / coarse - 0.5 + pad
        soft = cv2.warpAffine(
            mask,
            np.array([[1.0 / coarse, 0.0, offset], [0.0, 1.0 / coarse, offset]]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        region = self.image[low[1] : high[1], low[0] : high[0]]
        cv2.multiply(region, cv2.cvtColor(soft, cv2.COLOR_GRAY2RGB), dst=region, scale=1.0 / 255.0)


def _fixed_point(pixels: Points) -> NDArray[np.int32]:
    return np.rint(pixels * (1 << _FRACTION_BITS)).astype(np.int32)


def circle(centre: Place, radius: float) -> Points:
    """Outline of a circle, ``(N, 2)`` [m]."""
    return _unit_circle(40) * radius + np.asarray(centre, dtype=np.float64)


def capsule(start: Place, end: Place, start_radius: float, end_radius: float) -> Points:
    """Outline of a bar with round ends of two radii, ``(N, 2)`` [m]."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    direction = last - first
    length = float(np.hypot(*direction))
    ahead = direction / length if length > 1e-9 else np.array([1.0, 0.0])
    axes = np.stack([ahead, np.array([-ahead[1], ahead[0]])])
    half = _unit_circle(40)[:21]  # 0 to 180 degrees, turned so that it closes the far end
    cap = np.column_stack([half[:, 1], -half[:, 0]])
    return np.concatenate([cap * end_radius @ axes + last, -cap * start_radius @ axes + first])


@lru_cache(maxsize=4)
def _unit_circle(corners: int) -> Points:
    angle = np.arange(corners) * (2.0 * np.pi / corners)
    return np.column_stack([np.cos(angle), np.sin(angle)])
