# SPDX-License-Identifier: Apache-2.0
"""What is looked at in messages on their way into the bag: names of joints before the start, sizes of images."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from policy_ros.errors import DecodeError
from policy_ros.ros.recorder.image_size import IMAGE_TYPES, image_size
from policy_ros.ros.recorder.subscriptions import RecordedTopic


def inspect(topic: RecordedTopic, data: bytes, warn: Callable[[str], None]) -> None:
    """Note what a message says; ``warn`` with one line when the images of a topic change or are none."""
    if topic.joints_missing:
        topic.joints_missing.difference_update(deserialize_message(data, JointState).name)
    if topic.type in IMAGE_TYPES:
        _inspect_image(topic, data, warn)


def _inspect_image(topic: RecordedTopic, data: bytes, warn: Callable[[str], None]) -> None:
    try:
        size = image_size(topic.type, data)
    except DecodeError as error:
        if not topic.image_problem:
            topic.image_problem = str(error)
            warn(f"'{topic.name}': {error}")
        return
    before, topic.image_size = topic.image_size, size
    if before is not None and before != size:
        warn(
            f"'{topic.name}': the image size changed from {before[1]}x{before[0]} to {size[1]}x{size[0]}; "
            "a policy is trained on one size"
        )
