# SPDX-License-Identifier: Apache-2.0
"""Messages to values and back. No decoding, no checks: those belong to the rooms that use the values."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage as CompressedImageMessage
from sensor_msgs.msg import Image as ImageMessage

from policy_ros.data import ActionChunk
from policy_ros.msg import ActionChunk as ActionChunkMessage
from policy_ros.observation.images import CompressedImage, RawImage

_NS = 1_000_000_000


def stamp_to_ns(stamp: Time) -> int:
    return stamp.sec * _NS + stamp.nanosec


def ns_to_stamp(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // _NS, nanosec=nanoseconds % _NS)


def raw_image(message: ImageMessage) -> RawImage:
    """Shares the message's buffer."""
    return RawImage(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        data=memoryview(message.data),
    )


def compressed_image(message: CompressedImageMessage) -> CompressedImage:
    """Shares the message's buffer."""
    return CompressedImage(format=message.format, data=memoryview(message.data))


def action_chunk_message(
    chunk: ActionChunk,
    *,
    policy: str,
    joint_names: Sequence[str],
    dt_s: float,
    stamp_ns: int,
    observation_stamps_ns: Mapping[str, int],
) -> ActionChunkMessage:
    """The chunk as published. ``stamp_ns``: ROS time at which row 0 is due; observation stamps are ROS time too."""
    message = ActionChunkMessage(
        policy=policy,
        epoch=chunk.epoch,
        sequence=chunk.sequence,
        observation_streams=list(observation_stamps_ns),
        observation_stamps=[ns_to_stamp(ns) for ns in observation_stamps_ns.values()],
        delay=chunk.delay_steps,
        execution_horizon=chunk.execution_horizon,
        dt=dt_s,
        joint_names=list(joint_names),
        horizon=chunk.horizon,
        actions=array.array("f", np.ascontiguousarray(chunk.actions, dtype=np.float32).tobytes()),
    )
    message.header.stamp = ns_to_stamp(stamp_ns)
    return message
