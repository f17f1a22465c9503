# SPDX-License-Identifier: Apache-2.0
"""Decoding images: the protocol, the encodings that are mere bytes, and the chain of decoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import DecodeError
from policy_ros.observation.images import CompressedImage, Image, RawImage, byte_view

MAX_PIXELS = 1 << 24  # 16.8 Mpixel; a larger picture is a mistake or an attack


class UnsupportedEncoding(DecodeError):
    """This decoder does not know the encoding; another one may."""


class ImageDecoder(Protocol):
    """Makes pictures out of image messages. Both methods raise DecodeError, and nothing else, on bad input.

    They may be called from two threads at a time.
    """

    def check(self, image: Image) -> None:
        """Verify what can be told without decoding: encoding, sizes, header. Cheap enough for a callback."""

    def decode(self, image: Image) -> NDArray[np.uint8]:
        """Decode to ``(3, H, W)`` uint8 RGB, contiguous, sharing no memory with the message."""


def describe(image: Image) -> str:
    """What came, in a few words for an error message."""
    if isinstance(image, CompressedImage):
        return f"format '{image.format}' with {byte_view(image.data).nbytes} bytes"
    return f"{image.width}x{image.height} '{image.encoding}'"


def check_layout(image: RawImage, bytes_per_pixel: int, max_pixels: int = MAX_PIXELS) -> None:
    """Verify that sizes, ``step`` and the length of the data agree.

    Raises:
        DecodeError: they do not, or the picture is empty or larger than ``max_pixels``.
    """
    if image.height < 1 or image.width < 1 or image.height * image.width > max_pixels:
        raise DecodeError(
            f"expected an image of 1 to {max_pixels} pixels, got {describe(image)}; check the camera's driver"
        )
    row_bytes = image.width * bytes_per_pixel
    if image.step < row_bytes:
        raise DecodeError(
            f"expected step >= {row_bytes} for {describe(image)}, got {image.step}; check the camera's driver"
        )
    expected, got = image.height * image.step, byte_view(image.data).nbytes
    if got != expected:
        raise DecodeError(
            f"expected {expected} bytes (height {image.height} * step {image.step}) for {describe(image)}, got {got}; "
            "check the camera's driver"
        )


# Encoding to bytes per pixel and the places of red, green and blue. 8UC3 names no order; OpenCV's is blue first.
_RAW_ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}


def _splitter() -> Callable[[NDArray[np.uint8], list[NDArray[np.uint8]]], object]:
    """Takes the channels of ``(H, W, C)`` apart into C planes: by OpenCV in a tenth of the time that numpy needs."""
    try:
        import cv2
    except ImportError:
        return _split_by_numpy
    split: Callable[[NDArray[np.uint8], list[NDArray[np.uint8]]], object] = cv2.split
    return split


def _split_by_numpy(pixels: NDArray[np.uint8], planes: list[NDArray[np.uint8]]) -> None:
    for i, plane in enumerate(planes):
        plane[:] = pixels[:, :, i]


class RawDecoder:
    """8-bit RGB, BGR, RGBA, BGRA and grey pictures, with any row padding. Alpha is left out, grey is repeated."""

    encodings = tuple(_RAW_ENCODINGS)

    def __init__(self, *, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._split = _splitter()

    def check(self, image: Image) -> None:
        """Verify encoding, sizes and length."""
        raw, bytes_per_pixel, _ = self._known(image)
        check_layout(raw, bytes_per_pixel, self._max_pixels)

    def decode(self, image: Image) -> NDArray[np.uint8]:
        """Decode to ``(3, H, W)`` uint8 RGB."""
        self.check(image)
        raw, bytes_per_pixel, order = self._known(image)
        rows = np.frombuffer(byte_view(raw.data), np.uint8).reshape(raw.height, raw.step)
        pixels = rows[:, : raw.width * bytes_per_pixel].reshape(raw.height, raw.width, bytes_per_pixel)
        planes = np.empty((3, raw.height, raw.width), np.uint8)
        if bytes_per_pixel == len(order):
            in_place = sorted(zip(order, planes, strict=True), key=lambda pair: pair[0])
            self._split(pixels, [plane for _, plane in in_place])
        else:
            for plane, place in zip(planes, order, strict=True):
                plane[:] = pixels[:, :, place]
        return planes

    def _known(self, image: Image) -> tuple[RawImage, int, tuple[int, int, int]]:
        if not isinstance(image, RawImage) or image.encoding not in _RAW_ENCODINGS:
            raise UnsupportedEncoding(
                f"expected one of the encodings {', '.join(self.encodings)}, got {describe(image)}; "
                "set the camera to one of them"
            )
        return image, *_RAW_ENCODINGS[image.encoding]


class DecoderChain:
    """Tries decoders in turn; the first that knows the encoding decides.

    A decoder says that it does not know an encoding by raising :class:`UnsupportedEncoding`. Any other DecodeError is
    final: a malformed ``rgb8`` picture is not offered to the next decoder.
    """

    def __init__(self, *decoders: ImageDecoder) -> None:
        if not decoders:
            raise ValueError("expected at least one decoder, got none")
        self._decoders = decoders

    def check(self, image: Image) -> None:
        """Verify by the first decoder that knows the encoding."""
        for decoder in self._decoders[:-1]:
            try:
                return decoder.check(image)
            except UnsupportedEncoding:
                continue
        return self._decoders[-1].check(image)

    def decode(self, image: Image) -> NDArray[np.uint8]:
        """Decode to ``(3, H, W)`` uint8 RGB by the first decoder that knows the encoding."""
        for decoder in self._decoders[:-1]:
            try:
                return decoder.decode(image)
            except UnsupportedEncoding:
                continue
        return self._decoders[-1].decode(image)


def default_decoder(converter: ImageDecoder | None = None, *, max_pixels: int = MAX_PIXELS) -> DecoderChain:
    """The raw encodings first, then a converter for the others; without one, rosbags-image."""
    if converter is None:
        from policy_ros.observation.rosbags_decoder import RosbagsImageDecoder

        converter = RosbagsImageDecoder(max_pixels=max_pixels)
    return DecoderChain(RawDecoder(max_pixels=max_pixels), converter)
