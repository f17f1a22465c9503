# SPDX-License-Identifier: Apache-2.0
"""What is looked at in messages on their way into the bag: names of joints before the start, sizes of images."""

from __future__ import annotations

from collections.abc import Callable

from policy_ros.bags import cdr
from policy_ros.bags.errors import MalformedMessage
from policy_ros.bags.inputs import COMPRESSED_IMAGE, IMAGE
from policy_ros.errors import DecodeError
from policy_ros.observation.compressed import picture_size

IMAGE_TYPES = frozenset({IMAGE, COMPRESSED_IMAGE})


class Inspection:
    """Looks at the messages of one topic.

    Args:
        topic: full name.
        joints: names to be seen.
        warn: called with one line when the images change their size, or are none.
    """

    def __init__(self, topic: str, joints: tuple[str, ...], warn: Callable[[str], None]) -> None:
        self.joints_missing = set(joints)
        self._topic = topic
        self._warn = warn
        self._joint_states, self._images = cdr.JointStateReader(), cdr.ImageReader()
        self._compressed_images = cdr.CompressedImageReader()
        self._size: tuple[int, int] | None = None
        self._told_of_damage = False

    def look(self, message_type: str, data: bytes) -> None:
        """Note what a serialised message says."""
        try:
            if self.joints_missing:
                self.joints_missing.difference_update(self._joint_states.read(data).names)
            if message_type in IMAGE_TYPES:
                self._compare(self._image_size(message_type, data))
        except (DecodeError, MalformedMessage) as error:
            if not self._told_of_damage:
                self._warn(f"'{self._topic}': {error}")
            self._told_of_damage = True

    def _compare(self, size: tuple[int, int]) -> None:
        before, self._size = self._size, size
        if before is not None and before != size:
            self._warn(
                f"'{self._topic}': the image size changed from {before[1]}x{before[0]} to {size[1]}x{size[0]} pixels; "
                "a policy is trained on one size"
            )

    def _image_size(self, message_type: str, data: bytes) -> tuple[int, int]:
        """Height and width [pixel]."""
        if message_type == COMPRESSED_IMAGE:
            return picture_size(memoryview(self._compressed_images.read(data)[1].data))
        image = self._images.read(data)[1]
        return image.height, image.width
