# SPDX-License-Identifier: Apache-2.0
"""Notices a camera that goes on sending the same picture under new stamps.

Drivers do this after a lost connection, and frame grabbers when their input ends. A real sensor is noisy: no two of its
frames have the same bytes. A noise-free simulation of a scene in which nothing moves cannot be told from a frozen one.
"""

from __future__ import annotations

import zlib

import numpy as np

from policy_ros.observation.images import Image, RawImage, byte_view

# Of a raw picture: reading all of it for every frame would cost a core several percent. The step along a row shares no
# divisor with the bytes of a pixel, so that all colours are looked at.
_ROWS, _EVERY_NTH_BYTE = 32, 5


def digest(image: Image) -> int:
    """Checksum of a compressed picture, or of every fifth byte of some 32 to 63 rows of a raw one."""
    data = byte_view(image.data)
    if not isinstance(image, RawImage):
        return zlib.crc32(data)
    rows = np.frombuffer(data, dtype=np.uint8, count=image.height * image.step).reshape(image.height, image.step)
    return zlib.crc32(rows[:: max(1, image.height // _ROWS), ::_EVERY_NTH_BYTE].tobytes(), image.height)


class FrozenWatch:
    """Remembers since when a camera's pictures have been the same. Not thread-safe."""

    def __init__(self) -> None:
        self._digest: int | None = None
        self._since_ns = self._newest_ns = 0

    def saw(self, value: int, stamp_ns: int) -> None:
        """A picture with this digest was taken at ``stamp_ns``."""
        if value != self._digest:
            self._digest, self._since_ns = value, stamp_ns
        self._newest_ns = stamp_ns

    @property
    def unchanged_s(self) -> float:
        """For how long the pictures have been the same [s]: stamps are compared, not times of arrival."""
        return (self._newest_ns - self._since_ns) * 1e-9

    def clear(self) -> None:
        """Forget all pictures."""
        self._digest, self._since_ns, self._newest_ns = None, 0, 0
