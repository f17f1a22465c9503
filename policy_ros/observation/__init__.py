# SPDX-License-Identifier: Apache-2.0
"""Stamped samples in, one aligned Observation out. Knows nothing of ROS: live topics and bags feed the same objects."""

from __future__ import annotations

from policy_ros.observation.assembler import ObservationAssembler
from policy_ros.observation.config import CameraStream, ObservationConfig, VectorStream
from policy_ros.observation.decoding import DecoderChain, ImageDecoder, RawDecoder, UnsupportedEncoding, default_decoder
from policy_ros.observation.errors import NotReady, NotReadyCause
from policy_ros.observation.images import CompressedImage, RawImage
from policy_ros.observation.statistics import DropCause, StreamStatistics

__all__ = [
    "CameraStream",
    "CompressedImage",
    "DecoderChain",
    "DropCause",
    "ImageDecoder",
    "NotReady",
    "NotReadyCause",
    "ObservationAssembler",
    "ObservationConfig",
    "RawDecoder",
    "RawImage",
    "StreamStatistics",
    "UnsupportedEncoding",
    "VectorStream",
    "default_decoder",
]
