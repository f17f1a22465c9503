# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.observation import CameraStream, ObservationAssembler, ObservationConfig
from policy_ros.observation.decoding import ImageDecoder
from policy_ros.observation.frozen import digest
from policy_ros.observation.images import CompressedImage, RawImage

S = 1_000_000_000


def picture(value: int, height: int = 16) -> RawImage:
    return RawImage(height, 4, "rgb8", 12, np.full(height * 12, value, np.uint8))


class AnyPicture(ImageDecoder):
    def check(self, image) -> None:
        pass

    def decode(self, image):
        raise AssertionError("a watchdog decodes nothing")


def assembler(**changes: object) -> ObservationAssembler:
    camera = CameraStream("top", "observation.images.top", **{"frozen_after_s": 1.0, **changes})
    return ObservationAssembler(ObservationConfig(joints=(), state_feature=None, cameras=(camera,)), AnyPicture())


def push(target: ObservationAssembler, values: list[int], start_s: float = 1.0, every_s: float = 0.5) -> int:
    for index, value in enumerate(values):
        now_ns = round((start_s + index * every_s) * S)
        target.push_image("top", picture(value), stamp_ns=now_ns, receive_ns=now_ns)
    return now_ns


def frozen_s(target: ObservationAssembler, now_ns: int) -> float:
    return target.statistics(now_ns)["camera/top"].frozen_s


@pytest.mark.parametrize(
    ("values", "expected_s"), [([7] * 3, 0.0), ([7] * 4, 1.5), ([7, 7, 8, 8, 8], 0.0), ([1, 2, 3], 0.0)]
)
def test_fault_02_the_same_picture_for_longer_than_the_limit_is_frozen(values: list[int], expected_s: float) -> None:
    target = assembler()
    assert frozen_s(target, push(target, values)) == pytest.approx(expected_s)


def test_fault_02_only_a_camera_that_shall_hold_is_part_of_the_health() -> None:
    for holds in (False, True):
        target = assembler(frozen_holds=holds)
        health = target.health(push(target, [7] * 5))
        assert health.frozen == (("camera/top",) if holds else ())
        assert health.fresh is not holds


def test_one_new_picture_ends_it() -> None:
    target = assembler(frozen_holds=True)
    push(target, [7] * 5)
    assert target.health(push(target, [8], start_s=4.0)).frozen == ()


def test_nothing_is_watched_where_the_limit_is_zero() -> None:
    target = assembler(frozen_after_s=0.0, frozen_holds=True)
    assert target.health(push(target, [7] * 50)).frozen == ()


def test_clear_forgets_the_pictures() -> None:
    target = assembler(frozen_holds=True)
    now_ns = push(target, [7] * 5)
    target.clear()
    assert target.health(now_ns).frozen == ()


def test_a_camera_that_sends_nothing_is_silent_and_not_frozen() -> None:
    target = assembler(frozen_holds=True)
    push(target, [7, 7])
    assert target.health(100 * S).frozen == ()


def test_noise_anywhere_in_the_sampled_rows_tells_two_pictures_apart() -> None:
    noisy = np.full(16 * 12, 7, np.uint8)
    noisy[8 * 12 + 5] ^= 1
    assert digest(RawImage(16, 4, "rgb8", 12, noisy)) != digest(picture(7))
    assert digest(picture(7)) == digest(picture(7))
    assert digest(CompressedImage("jpeg", b"abc")) != digest(CompressedImage("jpeg", b"abd"))
