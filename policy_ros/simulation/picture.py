# SPDX-License-Identifier: Apache-2.0
"""One picture of the simulated robot for people: both cameras side by side, in the middle of the task."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError
from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.expert import Expert

DEFAULT_SEED = 8
_GAP = 12  # [pixel] between and around the two pictures


def save_picture(path: str | Path, seed: int = DEFAULT_SEED) -> None:
    """Write a PNG with the top and the wrist camera, at the moment at which the hand has reached the puck.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    picture = compose_picture(seed)
    target = Path(path)
    encoded, data = cv2.imencode(".png", _quantised(picture)[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not encoded:
        raise ConfigurationError(f"picture {target}: expected a PNG, OpenCV could not encode one")
    try:
        target.write_bytes(data.tobytes())
    except OSError as error:
        raise ConfigurationError(
            f"picture {target}: cannot be written: {error.strerror}; choose another path"
        ) from error


def compose_picture(seed: int = DEFAULT_SEED) -> NDArray[np.uint8]:
    """Both cameras at 640 x 480 side by side on white, ``(H, W, 3)`` uint8 RGB."""
    env = PickEnv(obs_type="state")
    env.reset(seed=seed)
    _advance_to_puck(env)
    top, wrist = (env.camera_image(camera) for camera in env.camera_names)
    height, width, _ = top.shape
    picture = np.full((height + 2 * _GAP, 2 * width + 3 * _GAP, 3), 255, dtype=np.uint8)
    picture[_GAP : _GAP + height, _GAP : _GAP + width] = top
    picture[_GAP : _GAP + height, 2 * _GAP + width : 2 * _GAP + 2 * width] = wrist
    return picture


def _advance_to_puck(env: PickEnv, max_steps: int = 400) -> None:
    expert = Expert()
    for _ in range(max_steps):
        _, _, _, _, info = env.step(expert.action(env))
        if info["tool_to_puck"] < 0.02:
            return
    raise RuntimeError(f"the scripted solution did not reach the puck within {max_steps} steps")


def _quantised(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Six bits a channel: nobody sees it in a document, and the file is half as large."""
    return np.asarray((picture & 0xFC) | (picture >> 6), dtype=np.uint8)
