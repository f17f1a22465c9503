# SPDX-License-Identifier: Apache-2.0
"""What every converter for the less simple encodings has in common: the allow-list and all checks."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import DecodeError
from policy_ros.observation.compressed import picture_size
from policy_ros.observation.decoding import MAX_PIXELS, UnsupportedEncoding, check_layout, describe
from policy_ros.observation.images import CompressedImage, Image, RawImage, byte_view

_BAYER = tuple(f"bayer_{pattern}{bits}" for pattern in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16))
_YUV422 = ("uyvy", "yuv422", "yuyv", "yuv422_yuy2")

# Encoding to bytes per pixel. Everything else is refused: depth pictures (16UC1, 32FC1, compressedDepth) are not
# colour, and nv12 and nv21 come out wrong without complaint from a common converter.
CONVERTIBLE_ENCODINGS: dict[str, int] = {
    **{name: 2 if name.endswith("16") else 1 for name in _BAYER},
    **dict.fromkeys(_YUV422, 2),
    "mono16": 2,
}

# image_transport stores colour pictures in OpenCV's order, which makes a regular file; "compressed rgb8" would have
# red and blue swapped inside the file, and publishers do not agree on what they mean by it.
_FORMAT = re.compile(
    r"(?:(?P<encoding>\w+)\s*;\s*)?(?P<codec>jpe?g|png)(?:\s+compressed(?:\s+(?P<stored>bgr8|mono8)?)?)?\s*"
)


class ConvertingDecoder(ABC):
    """Bayer, YUV 4:2:2, 16-bit grey, JPEG and PNG, by a library that subclasses name.

    16-bit values are scaled from full range to full range, ``round(v / 257)``, also where a sensor uses fewer bits.
    Grey is repeated. A compressed picture's declared size is bounded before anything is allocated for it.

    Args:
        max_pixels: larger pictures are refused.
    """

    def __init__(self, *, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels

    @abstractmethod
    def _convert_raw(self, image: RawImage) -> NDArray[np.generic]:
        """Convert a checked image without row padding to ``(H, W, 3)`` RGB or ``(H, W)`` grey, 8 or 16 bits."""

    @abstractmethod
    def _convert_compressed(self, image: CompressedImage) -> NDArray[np.generic]:
        """Decode a checked file to ``(H, W, 3)`` RGB or ``(H, W)`` grey, 8 or 16 bits."""

    def check(self, image: Image) -> None:
        """Verify encoding, sizes and length, for a file those that its header declares."""
        self._expected_size(image)

    def decode(self, image: Image) -> NDArray[np.uint8]:
        """Decode to ``(3, H, W)`` uint8 RGB."""
        height, width = self._expected_size(image)
        try:
            if isinstance(image, RawImage):
                pixels = self._convert_raw(_without_padding(image))
            else:
                pixels = self._convert_compressed(image)
        except DecodeError:
            raise
        except Exception as error:  # a library's own errors, of whatever type it chose
            raise DecodeError(
                f"expected a decodable image, got {describe(image)} on which {type(self).__name__} failed "
                f"({_one_line(error)}); check the camera's driver"
            ) from error
        # A file may ask to be shown turned by 90 degrees.
        if pixels.shape[:2] not in ((height, width), (width, height)):
            raise DecodeError(
                f"expected {width}x{height} pixels as the header says, got an array {pixels.shape} from "
                f"{describe(image)}; check the camera's driver"
            )
        return _to_planes(pixels)

    def _expected_size(self, image: Image) -> tuple[int, int]:
        if isinstance(image, RawImage):
            return self._check_raw(image)
        return self._check_compressed(image)

    def _check_raw(self, image: RawImage) -> tuple[int, int]:
        if image.encoding not in CONVERTIBLE_ENCODINGS:
            raise UnsupportedEncoding(
                f"expected a colour or grey encoding (rgb8, bgr8, mono8, {', '.join(CONVERTIBLE_ENCODINGS)}), "
                f"got {describe(image)}; set the camera to one of them"
            )
        check_layout(image, CONVERTIBLE_ENCODINGS[image.encoding], self._max_pixels)
        if image.encoding in _YUV422 and image.width % 2:
            raise DecodeError(f"expected an even width for YUV 4:2:2, got {describe(image)}; check the camera's driver")
        if image.encoding in _BAYER and min(image.height, image.width) < 3:  # OpenCV paints such a picture black
            raise DecodeError(
                f"expected at least 3x3 pixels to interpolate colours, got {describe(image)}; check the camera's driver"
            )
        return image.height, image.width

    def _check_compressed(self, image: CompressedImage) -> tuple[int, int]:
        format_ = _FORMAT.fullmatch(image.format.strip().lower())
        if format_ is None or _is_depth(format_["encoding"]):
            raise UnsupportedEncoding(
                "expected the format 'jpeg', 'png' or '<encoding>; jpeg compressed bgr8' of a colour or grey picture, "
                f"got {describe(image)}; publish it through image_transport's 'compressed'"
            )
        height, width = picture_size(byte_view(image.data))
        if not 1 <= height * width <= self._max_pixels:
            raise DecodeError(
                f"expected a picture of 1 to {self._max_pixels} pixels, got a file of {width}x{height}; "
                "check the camera's driver"
            )
        return height, width


def _is_depth(encoding: str | None) -> bool:
    return encoding is not None and re.fullmatch(r"(16|32|64)[usf]c1", encoding) is not None


def _without_padding(image: RawImage) -> RawImage:
    row_bytes = image.width * CONVERTIBLE_ENCODINGS[image.encoding]
    rows = np.frombuffer(byte_view(image.data), np.uint8)
    if image.step != row_bytes:
        rows = np.ascontiguousarray(rows.reshape(image.height, image.step)[:, :row_bytes]).reshape(-1)
    return replace(image, step=row_bytes, data=rows)


def _to_planes(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise DecodeError(
            f"expected 8 or 16 bits and 1 or 3 channels, got {pixels.dtype} of shape {pixels.shape}; "
            "set the camera to another encoding"
        )
    planes = np.empty((3, *pixels.shape[:2]), np.uint8)
    for i, plane in enumerate(planes):
        plane[:] = pixels if pixels.ndim == 2 else pixels[:, :, i]
    return planes


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
