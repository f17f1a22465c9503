# SPDX-License-Identifier: Apache-2.0
"""Where the two cameras look: affine maps from the table plane (metres) to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from policy_ros.simulation.kinematics import Pose

CAMERA_NAMES = ("top", "wrist")


@dataclass(frozen=True)
class View:
    """What a camera sees: a rectangle of the table, seen straight from above.

    Attributes:
        pose: centre of the picture, and the direction that is up in it, in the arm's frame.
        span: height and width of the rectangle [m].
    """

    pose: Pose
    span: tuple[float, float]

    def matrix(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """``(2, 3)`` affine map from (x, y) [m] to (column, row) of a picture of ``size`` (height, width) pixels.

        The centre of the first pixel is (0, 0), as OpenCV counts.
        """
        rows, columns = size[0] / self.span[0], size[1] / self.span[1]
        cos, sin = math.cos(self.pose.heading), math.sin(self.pose.heading)
        linear = np.array([[columns * sin, -columns * cos], [-rows * cos, -rows * sin]])
        centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
        offset = centre - linear @ np.array([self.pose.x, self.pose.y])
        return np.column_stack([linear, offset])


TOP_VIEW = View(Pose(0.22, 0.0, 0.0), (0.60, 0.80))
WRIST_SPAN = (0.18, 0.24)
WRIST_AHEAD = 0.03  # [m] the wrist camera looks at a point this far beyond the tool point


def wrist_view(tool: Pose) -> View:
    """The view of the camera that is mounted on the hand: ahead of the tool is up."""
    x, y = tool.to_base(WRIST_AHEAD, 0.0)
    return View(Pose(x, y, tool.heading), WRIST_SPAN)


class SensorNoise:
    """Noise of an image sensor, so that two frames of a standing robot differ, as they do from a real camera.

    A pool of noise is drawn once; a frame takes it from a random offset, which costs an addition.
    """

    def __init__(self, deviation: float, seed: int) -> None:
        """``deviation`` in grey levels of 255."""
        self._random = np.random.default_rng(seed)
        self._deviation = deviation
        self._pool: NDArray[np.int8] = np.zeros(0, dtype=np.int8)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` with noise added; the image itself when the deviation is zero."""
        if self._deviation <= 0.0:
            return image
        if self._pool.size < 2 * image.size:
            noise = np.rint(self._random.normal(0.0, self._deviation, 2 * image.size))
            self._pool = np.clip(noise, -127, 127).astype(np.int8)
        start = int(self._random.integers(0, self._pool.size - image.size))
        part = self._pool[start : start + image.size].reshape(image.shape)
        return np.asarray(cv2.add(image, part, dtype=cv2.CV_8U), dtype=np.uint8)
