# SPDX-License-Identifier: Apache-2.0
"""Reading just enough of a JPEG or PNG file to refuse it before it is decoded: its size, and whether it is all there.

Damage between header and end is for the decoder to find; in a JPEG it may show as blotches instead of an error.

JPEG: ITU-T T.81, annex B. PNG: ISO/IEC 15948, clauses 5 and 11.
"""

from __future__ import annotations

from policy_ros.errors import DecodeError

_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = b"\x00\x00\x00\rIHDR"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # these three are tables and an extension
_START_OF_SCAN = 0xDA
_SEGMENTS = frozenset(range(0xC0, 0xFF)) - set(range(0xD0, 0xDA))  # markers that are followed by a length


def picture_size(data: memoryview) -> tuple[int, int]:
    """Height and width that a complete JPEG or PNG file declares [pixel].

    Raises:
        DecodeError: it is neither, its header is damaged, or its end is missing.
    """
    if bytes(data[:2]) == _JPEG_SIGNATURE:
        return _jpeg_size(data)
    if bytes(data[:8]) == _PNG_SIGNATURE:
        return _png_size(data)
    raise DecodeError(
        f"expected a JPEG or PNG file, got {data.nbytes} bytes starting {bytes(data[:8]).hex() or 'nowhere'}; "
        "check the camera's driver"
    )


def _png_size(data: memoryview) -> tuple[int, int]:
    if bytes(data[8:16]) != _PNG_HEADER:
        raise _corrupt("PNG", "an IHDR chunk first", data)
    if _PNG_END not in bytes(data[33:]):
        raise _corrupt("PNG", "an IEND chunk at the end", data)
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    position = 2
    while True:
        marker, start, position = _jpeg_segment(data, position)
        if marker in _START_OF_FRAME:
            if size is not None or position - start < 7:
                raise _corrupt("JPEG", "one frame header", data)
            size = (
                int.from_bytes(data[start + 3 : start + 5], "big"),
                int.from_bytes(data[start + 5 : start + 7], "big"),
            )
        elif marker == _START_OF_SCAN:
            break
    # Scan data stuffs its 0xFF bytes, so the first FF D9 behind the scan header is the end marker. Decoders paint
    # what is missing grey and go on; a half grey picture must not reach a policy.
    if b"\xff\xd9" not in bytes(data[position:]):
        raise _corrupt("JPEG", "an end marker", data)
    if size is None:
        raise _corrupt("JPEG", "a frame header before the scan", data)
    return size


def _jpeg_segment(data: memoryview, position: int) -> tuple[int, int, int]:
    """Marker at a position, where its segment starts (at its length), and where the next one begins."""
    if position >= data.nbytes or data[position] != 0xFF:
        raise _corrupt("JPEG", f"a marker at byte {position}", data)
    while position < data.nbytes and data[position] == 0xFF:  # markers may be preceded by fill bytes
        position += 1
    start = position + 1
    if start + 2 > data.nbytes or data[position] not in _SEGMENTS:
        raise _corrupt("JPEG", f"a segment at byte {position}", data)
    end = start + int.from_bytes(data[start : start + 2], "big")
    if end < start + 2:
        raise _corrupt("JPEG", f"a segment length at byte {position}", data)
    return data[position], start, end


def _corrupt(kind: str, expected: str, data: memoryview) -> DecodeError:
    return DecodeError(
        f"expected {expected} in the {kind} file, got damaged or truncated data of {data.nbytes} bytes; "
        "check the camera's driver and the connection"
    )
