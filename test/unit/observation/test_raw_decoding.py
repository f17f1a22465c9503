# SPDX-License-Identifier: Apache-2.0
"""Raw 8-bit encodings against pictures computed by hand, and what is refused."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from numpy.typing import NDArray

from policy_ros.errors import DecodeError
from policy_ros.observation.decoding import DecoderChain, RawDecoder, UnsupportedEncoding, default_decoder
from policy_ros.observation.images import ByteBuffer, CompressedImage, Image, RawImage

# One row of two pixels: (R 1, G 2, B 3) and (R 4, G 5, B 6); alpha 9.
PIXELS = {
    "rgb8": [1, 2, 3, 4, 5, 6],
    "bgr8": [3, 2, 1, 6, 5, 4],
    "8UC3": [3, 2, 1, 6, 5, 4],
    "rgba8": [1, 2, 3, 9, 4, 5, 6, 9],
    "bgra8": [3, 2, 1, 9, 6, 5, 4, 9],
}
COLOUR = np.array([[[1, 4]], [[2, 5]], [[3, 6]]], np.uint8)


def row(encoding: str, data: list[int], padding: int = 0) -> RawImage:
    return RawImage(1, 2, encoding, len(data) + padding, bytes(data) + b"\xee" * padding)


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize("encoding", PIXELS)
def test_colour_encodings_give_red_green_and_blue_planes(encoding: str, padding: int):
    np.testing.assert_array_equal(RawDecoder().decode(row(encoding, PIXELS[encoding], padding)), COLOUR)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated_in_all_three_planes(encoding: str):
    np.testing.assert_array_equal(RawDecoder().decode(row(encoding, [7, 8], padding=3)), [[[7, 8]]] * 3)


def test_padded_rows_are_cut_in_every_row():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    padded = np.full((4, 32), 255, np.uint8)
    padded[:, :15] = pixels.reshape(4, 15)
    decoded = RawDecoder().decode(RawImage(4, 5, "rgb8", 32, padded.tobytes()))
    np.testing.assert_array_equal(decoded, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("container", [bytes, bytearray, memoryview, lambda b: array("B", b), np.array])
def test_any_buffer_of_bytes_is_taken(container):
    raw = bytes(PIXELS["rgb8"])
    data: ByteBuffer = np.frombuffer(raw, np.uint8) if container is np.array else container(raw)
    np.testing.assert_array_equal(RawDecoder().decode(RawImage(1, 2, "rgb8", 6, data)), COLOUR)


def test_the_picture_is_contiguous_and_shares_nothing_with_the_message():
    data = bytearray(PIXELS["rgb8"])
    decoded = RawDecoder().decode(RawImage(1, 2, "rgb8", 6, data))
    data[:] = bytes(6)
    assert decoded.flags.c_contiguous and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, COLOUR)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (RawImage(2, 2, "rgb8", 6, bytes(11)), r"expected 12 bytes \(height 2 \* step 6\).*got 11"),
        (RawImage(2, 2, "rgb8", 6, bytes(13)), "expected 12 bytes"),
        (RawImage(2, 2, "rgb8", 5, bytes(10)), "expected step >= 6.*got 5"),
        (RawImage(2, 2, "rgb8", 0, b""), "expected step >= 6.*got 0"),
        (RawImage(0, 2, "rgb8", 6, b""), "expected an image of 1 to"),
        (RawImage(2, 0, "rgb8", 0, b""), "expected an image of 1 to"),
        (RawImage(100_000, 100_000, "mono8", 100_000, b""), "expected an image of 1 to 16777216 pixels"),
    ],
)
def test_fault_07_sizes_that_do_not_agree_are_refused_before_decoding(image: RawImage, text: str):
    for method in (RawDecoder().check, RawDecoder().decode):
        with pytest.raises(DecodeError, match=text) as caught:
            method(image)
        assert "\n" not in str(caught.value)
        assert not isinstance(caught.value, UnsupportedEncoding)


@pytest.mark.parametrize("image", [row("16UC1", [1, 2, 3, 4]), CompressedImage("jpeg", b"")])
def test_fault_07_an_unknown_encoding_names_the_known_ones(image: Image):
    with pytest.raises(UnsupportedEncoding, match=r"expected one of the encodings rgb8, bgr8.*got"):
        RawDecoder().check(image)


class Converter:
    """Knows one encoding and says which image it was given."""

    def __init__(self) -> None:
        self.given: list[Image] = []

    def check(self, image: Image) -> None:
        if not isinstance(image, RawImage) or image.encoding != "special":
            raise UnsupportedEncoding("expected special")

    def decode(self, image: Image) -> NDArray[np.uint8]:
        self.check(image)
        self.given.append(image)
        return np.zeros((3, 1, 2), np.uint8)


def test_the_chain_takes_the_first_decoder_that_knows_the_encoding():
    converter = Converter()
    chain = default_decoder(converter)
    np.testing.assert_array_equal(chain.decode(row("rgb8", PIXELS["rgb8"])), COLOUR)
    special = row("special", [1, 2])
    chain.check(special)
    chain.decode(special)
    assert converter.given == [special]


def test_the_chain_does_not_offer_a_malformed_image_to_the_next_decoder():
    with pytest.raises(DecodeError, match="expected 6 bytes"):
        DecoderChain(RawDecoder(), Converter()).check(RawImage(1, 2, "rgb8", 6, bytes(5)))


def test_the_chain_reports_the_last_decoders_refusal():
    with pytest.raises(UnsupportedEncoding, match="expected special"):
        DecoderChain(RawDecoder(), Converter()).decode(row("32FC1", [0] * 8))


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="at least one decoder"):
        DecoderChain()
