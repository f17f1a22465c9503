# SPDX-License-Identifier: Apache-2.0
"""Bayer, YUV, 16-bit and compressed pictures through rosbags-image, and what is refused before it sees them."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from policy_ros.errors import DecodeError
from policy_ros.observation.converting import CONVERTIBLE_ENCODINGS, ConvertingDecoder
from policy_ros.observation.decoding import UnsupportedEncoding
from policy_ros.observation.images import CompressedImage, RawImage
from policy_ros.observation.rosbags_decoder import RosbagsImageDecoder

cv2 = pytest.importorskip("cv2", reason="needs OpenCV (pip install opencv-python-headless)")
pytest.importorskip("rosbags.image", reason="needs rosbags-image (pip install rosbags-image)")

SCENE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)  # RGB


def smooth_scene() -> NDArray[np.uint8]:
    """A picture that lossy compression keeps, (64, 96, 3) RGB, red on the left and blue below."""
    y, x = np.mgrid[0:64, 0:96]
    return np.stack([255 - 2 * x, np.full_like(x, 60), 3 * y], axis=-1).astype(np.uint8)


def raw(encoding: str, pixels: NDArray[np.generic], *, padding: int = 0, big_endian: bool = False) -> RawImage:
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<")).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    return RawImage(pixels.shape[0], pixels.shape[1], encoding, rows.shape[1], rows.tobytes(), big_endian)


def mosaic(pattern: str, colour: tuple[int, int, int], dtype: type = np.uint8) -> NDArray[np.generic]:
    """What a Bayer sensor sees of an evenly coloured wall."""
    value = dict(zip("rgb", colour, strict=True))
    tile = np.array([[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], dtype)
    return np.tile(tile, (4, 5))


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_an_even_colour_is_that_colour_everywhere(pattern: str, padding: int):
    decoded = RosbagsImageDecoder().decode(raw(f"bayer_{pattern}8", mosaic(pattern, (200, 90, 10)), padding=padding))
    assert decoded.shape == (3, 8, 10)
    np.testing.assert_array_equal(decoded.reshape(3, -1).min(axis=1), [200, 90, 10])
    np.testing.assert_array_equal(decoded.reshape(3, -1).max(axis=1), [200, 90, 10])


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_16_bit_bayer_is_scaled_from_full_range(pattern: str, big_endian: bool):
    pixels = mosaic(pattern, (200 * 257, 90 * 257, 10 * 257), np.uint16)
    decoded = RosbagsImageDecoder().decode(raw(f"bayer_{pattern}16", pixels, big_endian=big_endian))
    np.testing.assert_array_equal(decoded[:, 4, 5], [200, 90, 10])


def test_bayer_of_a_scene_equals_opencv():
    pixels = SCENE[:, :, 0].copy()
    decoded = RosbagsImageDecoder().decode(raw("bayer_rggb8", pixels))
    np.testing.assert_array_equal(decoded, cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2RGB).transpose(2, 0, 1))


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("uyvy", "COLOR_YUV2RGB_UYVY"),
        ("yuv422", "COLOR_YUV2RGB_UYVY"),
        ("yuyv", "COLOR_YUV2RGB_YUYV"),
        ("yuv422_yuy2", "COLOR_YUV2RGB_YUYV"),
    ],
)
def test_yuv_422_equals_opencv(encoding: str, code: str, padding: int):
    pixels = SCENE[:, :, :2].copy()
    decoded = RosbagsImageDecoder().decode(raw(encoding, pixels, padding=padding))
    np.testing.assert_array_equal(decoded, cv2.cvtColor(pixels, getattr(cv2, code)).transpose(2, 0, 1))


def test_yuyv_red_by_hand_is_red():
    red = np.tile(np.array([[[82, 90], [82, 240]]], np.uint8), (2, 1, 1))  # BT.601 limited range: Y, U / Y, V
    decoded = RosbagsImageDecoder().decode(raw("yuyv", red))
    assert np.all(decoded[0] > 250) and np.all(decoded[1:] < 5)


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_byte_order_means_nothing_for_bytes(is_bigendian: bool):
    pixels = SCENE[:, :, 0].copy()
    image = RawImage(6, 8, "bayer_rggb8", 8, pixels.tobytes(), is_bigendian)
    np.testing.assert_array_equal(
        RosbagsImageDecoder().decode(image), RosbagsImageDecoder().decode(raw("bayer_rggb8", pixels))
    )


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_is_rounded_from_full_range(big_endian: bool, padding: int):
    values = np.array([[0, 128, 129, 257], [65535, 65406, 65407, 32896]], np.uint16)
    decoded = RosbagsImageDecoder().decode(raw("mono16", values, big_endian=big_endian, padding=padding))
    np.testing.assert_array_equal(decoded, [[[0, 0, 1, 1], [255, 254, 255, 128]]] * 3)


def encoded(extension: str, rgb: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(extension, rgb[:, :, ::-1] if rgb.ndim == 3 else rgb)
    assert done
    return bytes(data.tobytes())


@pytest.mark.parametrize("format_", ["png", "PNG", "rgb8; png compressed bgr8", "bgr8; png compressed "])
def test_png_comes_back_exactly(format_: str):
    decoded = RosbagsImageDecoder().decode(CompressedImage(format_, encoded(".png", SCENE)))
    np.testing.assert_array_equal(decoded, SCENE.transpose(2, 0, 1))
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize(
    "format_", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bgr8", "bgr8;jpeg"]
)
def test_jpeg_keeps_the_picture_and_its_channel_order(format_: str):
    scene = smooth_scene()
    decoded = RosbagsImageDecoder().decode(CompressedImage(format_, encoded(".jpg", scene)))
    assert np.abs(decoded.astype(int) - scene.transpose(2, 0, 1)).mean() < 3.0


@pytest.mark.parametrize(("extension", "format_"), [(".png", "png"), (".jpg", "mono8; jpeg compressed mono8")])
def test_grey_files_are_repeated_in_all_planes(extension: str, format_: str):
    grey = np.full((16, 24), 77, np.uint8)
    decoded = RosbagsImageDecoder().decode(CompressedImage(format_, encoded(extension, grey)))
    np.testing.assert_array_equal(decoded, np.full((3, 16, 24), 77))


def test_a_jpeg_followed_by_padding_is_complete():
    data = encoded(".jpg", smooth_scene()) + bytes(100)
    assert RosbagsImageDecoder().decode(CompressedImage("jpeg", data)).shape == (3, 64, 96)


@pytest.mark.parametrize("method", ["check", "decode"])
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_fault_07_a_file_truncated_anywhere_is_refused_already_by_the_check(extension: str, method: str):
    data = encoded(extension, smooth_scene())
    for length in {*range(0, min(200, len(data))), *range(200, len(data) - 2, 37), len(data) - 1}:
        with pytest.raises(DecodeError, match="expected"):
            getattr(RosbagsImageDecoder(), method)(CompressedImage(extension[1:], data[:length]))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_fault_07_flipped_bytes_give_a_picture_or_a_decode_error_and_nothing_else(extension: str):
    rng = np.random.default_rng(6)
    intact = encoded(extension, smooth_scene())
    refused = 0
    for _ in range(300):
        data = bytearray(intact)
        for position in rng.integers(0, len(data), size=4):
            data[position] = int(rng.integers(256))
        try:
            picture = RosbagsImageDecoder(max_pixels=10_000).decode(CompressedImage(extension[1:], bytes(data)))
        except DecodeError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert picture.shape[0] == 3 and picture.dtype == np.uint8
    assert refused > 0


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_fault_07_a_decompression_bomb_is_refused_by_its_header():
    with pytest.raises(DecodeError, match="expected a picture of 1 to 16777216 pixels, got a file of 60000x60000"):
        RosbagsImageDecoder().check(CompressedImage("png", png_claiming(60_000, 60_000)))


def test_fault_07_a_jpeg_that_claims_to_be_huge_is_refused_by_its_header():
    data = bytearray(encoded(".jpg", smooth_scene()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(DecodeError, match="got a file of 65000x65000"):
        RosbagsImageDecoder().check(CompressedImage("jpeg", bytes(data)))


def test_fault_07_a_second_frame_header_cannot_hide_behind_the_first():
    data = encoded(".jpg", smooth_scene())
    frame = data.index(b"\xff\xc0")
    length = 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")
    doubled = data[: frame + length] + data[frame:]
    with pytest.raises(DecodeError, match="expected one frame header"):
        RosbagsImageDecoder().check(CompressedImage("jpeg", doubled))


def jpeg_segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2 if length is None else length) + body


FRAME_HEADER = jpeg_segment(0xC0, struct.pack(">BHHB", 8, 4, 4, 1) + bytes(3))
SCAN = jpeg_segment(0xDA, bytes(6)) + b"\x00\xff\xd9"


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (jpeg_segment(0xFE, b"comment"), "a frame header before the scan"),
        (jpeg_segment(0xC0, bytes(4)), "one frame header"),
        (jpeg_segment(0xFE, b"", length=1), "a segment length at byte 3"),
        (jpeg_segment(0x00, b""), "a segment at byte 3"),
        (b"none", "a marker at byte 2"),
    ],
    ids=["no frame header", "short frame header", "segment shorter than its length", "no segment", "no marker"],
)
def test_fault_07_a_jpeg_whose_header_is_damaged_is_refused_by_the_check(segments: bytes, expected: str):
    RosbagsImageDecoder().check(CompressedImage("jpeg", b"\xff\xd8" + FRAME_HEADER + SCAN))
    with pytest.raises(DecodeError, match=f"expected {expected} in the JPEG file"):
        RosbagsImageDecoder().check(CompressedImage("jpeg", b"\xff\xd8" + segments + SCAN))


def test_fault_07_a_png_that_does_not_begin_with_its_header_is_refused_by_the_check():
    data = png_claiming(4, 4)
    RosbagsImageDecoder().check(CompressedImage("png", data))
    with pytest.raises(DecodeError, match="expected an IHDR chunk first in the PNG file"):
        RosbagsImageDecoder().check(CompressedImage("png", data.replace(b"IHDR", b"tEXt")))


def test_fault_07_a_picture_of_no_pixels_is_refused():
    with pytest.raises(DecodeError, match="expected a picture of 1 to"):
        RosbagsImageDecoder().check(CompressedImage("png", png_claiming(0, 5)))


@pytest.mark.parametrize(
    "format_",
    [
        "16UC1; compressedDepth png",
        "32FC1; compressedDepth rvl",
        "16UC1; png compressed ",
        "compressedDepth",
        "rgb8; jpeg compressed rgb8",
        "h264",
        "tiff",
        "",
    ],
)
def test_fault_07_formats_outside_the_allow_list_are_refused(format_: str):
    with pytest.raises(UnsupportedEncoding, match="expected the format 'jpeg', 'png'"):
        RosbagsImageDecoder().check(CompressedImage(format_, encoded(".png", SCENE)))


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "16UC1", "32FC1", "8UC2", "RGB8", "", "bayer_xxxx8"])
def test_fault_07_encodings_outside_the_allow_list_are_refused(encoding: str):
    with pytest.raises(UnsupportedEncoding, match="expected a colour or grey encoding"):
        RosbagsImageDecoder().check(RawImage(2, 2, encoding, 8, bytes(16)))


@pytest.mark.parametrize("encoding", CONVERTIBLE_ENCODINGS)
def test_fault_07_data_of_the_wrong_length_is_refused_for_every_encoding(encoding: str):
    step = 4 * CONVERTIBLE_ENCODINGS[encoding]
    RosbagsImageDecoder().check(RawImage(4, 4, encoding, step, bytes(4 * step)))
    with pytest.raises(DecodeError, match=f"expected {4 * step} bytes"):
        RosbagsImageDecoder().check(RawImage(4, 4, encoding, step, bytes(4 * step - 1)))
    with pytest.raises(DecodeError, match=f"expected step >= {step}"):
        RosbagsImageDecoder().check(RawImage(4, 4, encoding, step - 1, bytes(4 * step - 4)))


def test_fault_07_a_yuv_picture_of_odd_width_is_refused():
    with pytest.raises(DecodeError, match="expected an even width"):
        RosbagsImageDecoder().check(RawImage(2, 3, "yuyv", 6, bytes(12)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 8), (8, 2)])
def test_fault_07_a_bayer_picture_too_small_to_interpolate_is_refused(height: int, width: int):
    with pytest.raises(DecodeError, match="expected at least 3x3 pixels"):
        RosbagsImageDecoder().check(RawImage(height, width, "bayer_rggb8", width, bytes(height * width)))


class OddConverter(ConvertingDecoder):
    """A library that returns, or raises, what a test gives it."""

    def __init__(self, result: NDArray[np.generic] | Exception) -> None:
        super().__init__()
        self.result = result

    def _convert_raw(self, image: RawImage) -> NDArray[np.generic]:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def _convert_compressed(self, image: CompressedImage) -> NDArray[np.generic]:
        raise AssertionError("not asked for")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (np.zeros((4, 5, 3), np.uint8), "expected 4x4 pixels as the header says, got an array"),
        (np.zeros((4, 4, 4), np.uint8), "expected 8 or 16 bits and 1 or 3 channels"),
        (np.zeros((4, 4, 3), np.float32), "expected 8 or 16 bits and 1 or 3 channels, got float32"),
        (RuntimeError("went\nwrong"), r"OddConverter failed \(RuntimeError: went wrong\)"),
    ],
)
def test_fault_07_whatever_a_library_does_ends_in_a_decode_error(result: NDArray[np.generic] | Exception, text: str):
    with pytest.raises(DecodeError, match=text):
        OddConverter(result).decode(RawImage(4, 4, "bayer_rggb8", 4, bytes(16)))


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    image = CompressedImage("png", encoded(".png", SCENE))
    with pytest.raises(DecodeError, match=r"expected rosbags-image and OpenCV.*install rosbags-image"):
        RosbagsImageDecoder().check(image)
