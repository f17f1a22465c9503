# SPDX-License-Identifier: Apache-2.0
"""Size of an image in a serialised message, without deserialising it.

CDR, XTypes 1.3, clause 7.4: four bytes that say the byte order, then the fields in order, each aligned to its size.
"""

from __future__ import annotations

import struct

from policy_ros.errors import DecodeError
from policy_ros.observation.compressed import picture_size
from policy_ros.ros.recorder.plan import COMPRESSED_IMAGE, IMAGE

IMAGE_TYPES = frozenset({IMAGE, COMPRESSED_IMAGE})
_FRAME_ID = 4 + 8  # behind the byte order and the stamp


def image_size(message_type: str, data: bytes) -> tuple[int, int]:
    """Height and width [pixel] of a serialised ``sensor_msgs`` Image or CompressedImage.

    Raises:
        DecodeError: it is too short, or no JPEG or PNG file.
    """
    order = "<" if data[1:2] == b"\x01" else ">"
    try:
        position = _behind_string(order, data, _FRAME_ID)
        if message_type == IMAGE:
            height, width = struct.unpack_from(f"{order}II", data, position)
            return height, width
        position = _behind_string(order, data, position)
        (length,) = struct.unpack_from(f"{order}I", data, position)
    except struct.error:
        raise DecodeError(f"expected a serialised {message_type}, got {len(data)} bytes; check its publisher") from None
    return picture_size(memoryview(data)[position + 4 : position + 4 + length])


def _behind_string(order: str, data: bytes, position: int) -> int:
    """Where the 4-byte field after the string at ``position`` begins; alignment counts from behind the byte order."""
    (length,) = struct.unpack_from(f"{order}I", data, position)
    end = position + 4 + int(length)
    return end + -end % 4  # the four bytes of the byte order keep the alignment
