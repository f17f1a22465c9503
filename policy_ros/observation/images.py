# SPDX-License-Identifier: Apache-2.0
"""Image messages without ROS: what a camera topic or a bag delivers, not yet decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Whatever exposes contiguous bytes; rclpy delivers array('B'), a bag delivers an ndarray.
ByteBuffer: TypeAlias = "Buffer | NDArray[Any]"


@dataclass(frozen=True, eq=False)
class RawImage:
    """One uncompressed picture, fields as in ``sensor_msgs/Image``.

    Attributes:
        height: rows [pixel].
        width: columns [pixel].
        encoding: name from ``sensor_msgs/image_encodings``, e.g. ``rgb8``.
        step: bytes from one row to the next, padding included.
        data: ``height * step`` bytes; held, not copied.
        is_bigendian: byte order of 16-bit encodings.
    """

    height: int
    width: int
    encoding: str
    step: int
    data: ByteBuffer = field(repr=False)
    is_bigendian: bool = False


@dataclass(frozen=True, eq=False)
class CompressedImage:
    """One compressed picture, fields as in ``sensor_msgs/CompressedImage``.

    Attributes:
        format: ``jpeg``, ``png`` or image_transport's longer form, e.g. ``rgb8; jpeg compressed bgr8``.
        data: the encoded file; held, not copied.
    """

    format: str
    data: ByteBuffer = field(repr=False)


Image: TypeAlias = RawImage | CompressedImage


def byte_view(data: ByteBuffer) -> memoryview:
    """Flat view of the bytes of ``data``, without a copy."""
    return memoryview(cast("Buffer", data)).cast("B")
