# SPDX-License-Identifier: Apache-2.0
"""Conversion by rosbags-image, for where cv_bridge is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import DecodeError
from policy_ros.observation.converting import ConvertingDecoder
from policy_ros.observation.decoding import MAX_PIXELS, describe
from policy_ros.observation.images import CompressedImage, Image, RawImage, byte_view


class RosbagsImageDecoder(ConvertingDecoder):
    """Bayer, YUV 4:2:2, 16-bit grey, JPEG and PNG by rosbags-image, which is imported on first use."""

    def __init__(self, *, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(max_pixels=max_pixels)
        self._library: ModuleType | None = None
        self._found = False

    def check(self, image: Image) -> None:
        """Verify the image, and that rosbags-image and OpenCV are installed."""
        super().check(image)
        self._found = self._found or _installed()
        if not self._found:
            raise _not_installed(image)

    def _convert_raw(self, image: RawImage) -> NDArray[np.generic]:
        library = self._import(image)
        if image.encoding == "mono16":
            # Without a target the values stay 16 bits wide; rosbags-image would round them down.
            return cast("NDArray[np.generic]", library.image_to_cvimage(image))
        target = "rgb16" if image.encoding.endswith("16") else "rgb8"
        return cast("NDArray[np.generic]", library.image_to_cvimage(image, target))

    def _convert_compressed(self, image: CompressedImage) -> NDArray[np.generic]:
        library = self._import(image)
        message: Any = CompressedImage(image.format, byte_view(image.data))
        # No target colour: asked for one, rosbags-image takes every file for colour and fails on grey ones.
        pixels = cast("NDArray[np.generic]", library.compressed_image_to_cvimage(message))
        return pixels[:, :, ::-1] if pixels.ndim == 3 else pixels

    def _import(self, image: Image) -> ModuleType:
        if self._library is None:
            try:
                from rosbags import image as library
            except ImportError as error:
                raise _not_installed(image) from error
            self._library = library
        return self._library


def _installed() -> bool:
    try:
        return find_spec("rosbags.image") is not None and find_spec("cv2") is not None
    except ModuleNotFoundError:  # rosbags itself is missing
        return False


def _not_installed(image: Image) -> DecodeError:
    return DecodeError(
        f"expected rosbags-image and OpenCV for {describe(image)}, got none; install rosbags-image[opencv-headless], "
        "or set the camera to rgb8"
    )
