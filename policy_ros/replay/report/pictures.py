# SPDX-License-Identifier: Apache-2.0
"""Pictures that a policy saw, small enough for a page."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from policy_ros.data import OBSERVATION_IMAGE_PREFIX, AnyArray, Observation

LONGEST_SIDE = 640  # [px]
_LOSSLESS_SIDE = 200  # [px], below it PNG costs little and shows what the policy got
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """One camera's picture.

    Attributes:
        camera: name of the camera, from the feature's key.
        media_type: of ``data``.
        data: the file.
        width: of the picture [px].
        height: of the picture [px].
        age_s: how old it was when the observation was taken [s]; None: its stamp is not known.
    """

    camera: str
    media_type: str
    data: bytes
    width: int
    height: int
    age_s: float | None


def pictures_of(observation: Observation, now_ns: int) -> tuple[Picture, ...]:
    """The newest picture of each camera in an observation taken at ``now_ns``, in the order of their names."""
    pictures = []
    for key, value in sorted(observation.features.items()):
        if key.startswith(OBSERVATION_IMAGE_PREFIX) and not isinstance(value, str):
            camera = key.removeprefix(OBSERVATION_IMAGE_PREFIX)
            stamp_ns = observation.stamps_ns.get(f"camera/{camera}")
            pictures.append(encode(camera, value, None if stamp_ns is None else (now_ns - stamp_ns) * 1e-9))
    return tuple(pictures)


def encode(camera: str, image: AnyArray, age_s: float | None) -> Picture:
    """A picture from ``(3, H, W)`` or ``(T, 3, H, W)`` uint8 RGB, of which the last counts; larger ones are shrunk."""
    rgb = image[-1] if image.ndim == 4 else image
    bgr = np.ascontiguousarray(rgb[::-1].transpose(1, 2, 0))
    longest = max(bgr.shape[:2])
    if longest > LONGEST_SIDE:
        scale = LONGEST_SIDE / longest
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if longest <= _LOSSLESS_SIDE:
        media_type, suffix, options = "image/png", ".png", []
    else:
        media_type, suffix, options = "image/jpeg", ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(suffix, bgr, options)
    return Picture(camera, media_type, data.tobytes(), bgr.shape[1], bgr.shape[0], age_s)
