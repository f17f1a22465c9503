# SPDX-License-Identifier: Apache-2.0
"""Images as files: PNG out, PNG or JPEG in."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from policy_ros.lerobot_dataset.errors import LeRobotError

_COMPRESSION = 1  # of 9; twice as fast as the default and hardly larger

Image = NDArray[np.uint8]


def encode_png(image: Image) -> bytes:
    """An RGB image ``(3, H, W)`` as a PNG file."""
    bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    if not done:
        raise LeRobotError(f"PNG: OpenCV refuses an image of shape {image.shape}")
    return data.tobytes()


def decode_image(data: bytes, where: str) -> Image:
    """The RGB image ``(3, H, W)`` in a file.

    Raises:
        LeRobotError: it is no image; ``where`` tells which.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise LeRobotError(f"{where}: expected a PNG or JPEG file, got {len(data)} bytes that are none")
    return np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1)).astype(np.uint8, copy=False)
