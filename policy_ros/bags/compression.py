# SPDX-License-Identifier: Apache-2.0
"""Decompression, also of what was cut off."""

from __future__ import annotations

from pathlib import Path

from backports import zstd
from lz4.frame import LZ4FrameDecompressor

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE = 1 << 20
_LARGEST = 1 << 31  # bytes; more is damage or an attack


class DecompressionError(Exception):
    """The compressed data is damaged, or compressed in an unknown way."""


def decompress(data: memoryview, compression: str, size: int) -> memoryview:
    """What was compressed, or, where its end is missing, as much of it as there is.

    Args:
        data: compressed.
        compression: ``lz4``, ``zstd``, or empty for none.
        size: of what was compressed, or more [bytes].

    Raises:
        DecompressionError: the data is damaged, the compression unknown, or the size unbelievable.
    """
    if compression == "":
        return data
    if size > _LARGEST:
        raise DecompressionError(f"expected at most {_LARGEST} bytes, got a declared size of {size}")
    try:
        if compression == "lz4":
            return memoryview(LZ4FrameDecompressor().decompress(data, max_length=size))
        if compression == "zstd":
            return memoryview(zstd.ZstdDecompressor().decompress(data, max_length=size))
    except (RuntimeError, EOFError, zstd.ZstdError) as error:
        raise DecompressionError(" ".join(str(error).split())) from error
    raise DecompressionError(f"expected lz4, zstd or no compression, got '{compression}'")


def decompressed_message(data: memoryview) -> memoryview:
    """A message that may have been compressed by itself; serialized messages begin with a zero byte, zstd does not.

    Raises:
        DecompressionError: the data is damaged.
    """
    if data[:4] != _ZSTD_MAGIC:
        return data
    try:
        return memoryview(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise DecompressionError(" ".join(str(error).split())) from error


def decompress_file(source: Path, target: Path) -> str | None:
    """Decompress a zstd file as far as it goes; returns what stopped it, or None."""
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as stream, target.open("wb") as out:
        while piece := stream.read(_PIECE):
            while piece:
                if decompressor.eof:  # a file may hold several frames
                    decompressor = zstd.ZstdDecompressor()
                try:
                    out.write(decompressor.decompress(piece))
                except zstd.ZstdError as error:
                    return " ".join(str(error).split())
                piece = decompressor.unused_data
    return None if decompressor.eof else "its end is missing"
