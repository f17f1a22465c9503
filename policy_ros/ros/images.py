# SPDX-License-Identifier: Apache-2.0
"""Image conversion through cv_bridge, where a system ROS has it; elsewhere rosbags-image does it."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage as CompressedImageMessage
from sensor_msgs.msg import Image as ImageMessage

from policy_ros.observation import CompressedImage, ImageDecoder, RawImage, default_decoder
from policy_ros.observation.converting import ConvertingDecoder
from policy_ros.observation.images import byte_view


class CvBridgeDecoder(ConvertingDecoder):
    """The same allow-list and checks as everywhere, converted by cv_bridge."""

    def __init__(self) -> None:
        super().__init__()
        from cv_bridge import CvBridge

        self._bridge = CvBridge()

    def _convert_raw(self, image: RawImage) -> NDArray[np.generic]:
        message = ImageMessage(
            height=image.height,
            width=image.width,
            encoding=image.encoding,
            step=image.step,
            is_bigendian=int(image.is_bigendian),
            data=bytes(byte_view(image.data)),
        )
        if image.encoding == "mono16":
            return self._bridge.imgmsg_to_cv2(message, "passthrough")
        return self._bridge.imgmsg_to_cv2(message, "rgb16" if image.encoding.endswith("16") else "rgb8")

    def _convert_compressed(self, image: CompressedImage) -> NDArray[np.generic]:
        message = CompressedImageMessage(format=image.format, data=bytes(byte_view(image.data)))
        pixels = self._bridge.compressed_imgmsg_to_cv2(message, "passthrough")
        return pixels[:, :, ::-1] if pixels.ndim == 3 else pixels


def make_decoder() -> ImageDecoder:
    """8-bit raw images directly; all others by cv_bridge if it is installed, else by rosbags-image."""
    return default_decoder(CvBridgeDecoder() if find_spec("cv_bridge") else None)
