# SPDX-License-Identifier: Apache-2.0
"""What is noticed in messages on their way into the bag."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from policy_ros.bags.inputs import COMPRESSED_IMAGE, IMAGE, JOINT_STATE
from policy_ros.ros.recorder.inspection import Inspection

STORE = get_typestore(Stores.ROS2_JAZZY)


def header():
    types = STORE.types
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "camera_optical_frame")


def raw(height: int, width: int) -> bytes:
    pixels = np.zeros(height * width * 3, np.uint8)
    image = STORE.types[IMAGE](header(), height, width, "rgb8", 0, 3 * width, pixels)
    return bytes(STORE.serialize_cdr(image, IMAGE))


def jpeg(height: int, width: int) -> bytes:
    _, data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))
    return bytes(STORE.serialize_cdr(STORE.types[COMPRESSED_IMAGE](header(), "jpeg", data), COMPRESSED_IMAGE))


@pytest.mark.parametrize(("message_type", "image"), [(IMAGE, raw), (COMPRESSED_IMAGE, jpeg)])
def test_a_changed_image_size_is_told_each_time_it_changes(message_type, image):
    told: list[str] = []
    inspection = Inspection("/camera", (), told.append)
    for size in ((24, 32), (24, 32), (48, 64), (48, 64), (24, 32)):
        inspection.look(message_type, image(*size))
    assert [line.partition(";")[0] for line in told] == [
        "'/camera': the image size changed from 32x24 to 64x48 pixels",
        "'/camera': the image size changed from 64x48 to 32x24 pixels",
    ]


@pytest.mark.parametrize(("message_type", "image"), [(IMAGE, raw), (COMPRESSED_IMAGE, jpeg)])
def test_damaged_images_are_told_once(message_type, image):
    told: list[str] = []
    inspection = Inspection("/camera", (), told.append)
    for _ in range(3):
        inspection.look(message_type, image(24, 32)[:40])
    assert len(told) == 1 and told[0].startswith("'/camera': expected")


def test_joints_are_missing_until_each_was_named():
    inspection = Inspection("/joint_states", ("arm", "gripper"), pytest.fail)
    for name, missing in (("arm", {"gripper"}), ("wheel", {"gripper"}), ("gripper", set())):
        empty = np.zeros(0)
        message = STORE.types[JOINT_STATE](header(), [name], np.zeros(1), empty, empty)
        inspection.look(JOINT_STATE, bytes(STORE.serialize_cdr(message, JOINT_STATE)))
        assert inspection.joints_missing == missing
