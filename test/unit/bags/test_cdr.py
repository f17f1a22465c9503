# SPDX-License-Identifier: Apache-2.0
"""The quick parsers agree with rosbags."""

from __future__ import annotations

import numpy as np
import pytest
from support.bags import STORE, array, compressed_image, image, joint_state, serialized, trajectory

from policy_ros.bags import MalformedMessage, cdr

STAMP = 1_700_000_123_000_000_456
PIXELS = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("names", [[], ["a"], ["shoulder", "elbow", "wrist_é"], [f"joint{i}" for i in range(30)]])
@pytest.mark.parametrize("little", [True, False])
def test_joint_states_are_read_whatever_the_lengths_of_names_and_the_byte_order(names, little):
    message = joint_state(STAMP, names, [0.1 * i - 1.0 for i in range(len(names))])
    data = bytes(STORE.serialize_cdr(message, message.__msgtype__, little_endian=little))
    assert cdr.JointStateReader().read(data) == (STAMP, names, tuple(message.position))


@pytest.mark.parametrize("encoding", ["rgb8", "8UC3"])
def test_images_are_read_as_views(encoding):
    data = memoryview(serialized(image(STAMP, PIXELS, encoding, padding=3)))
    stamp_ns, picture = cdr.ImageReader().read(data)
    assert (stamp_ns, picture.height, picture.width, picture.encoding, picture.step) == (STAMP, 5, 7, encoding, 24)
    assert picture.is_bigendian is False
    assert np.array_equal(np.frombuffer(picture.data, np.uint8).reshape(5, 24)[:, :21].reshape(5, 7, 3), PIXELS)
    assert picture.data.obj is data.obj


def test_compressed_images_are_read_as_views():
    data = memoryview(serialized(compressed_image(STAMP, b"\x89PNG...", "rgb8; png compressed bgr8")))
    stamp_ns, picture = cdr.CompressedImageReader().read(data)
    assert (stamp_ns, picture.format, bytes(picture.data)) == (STAMP, "rgb8; png compressed bgr8", b"\x89PNG...")


@pytest.mark.parametrize("values", [[], [1.5], [float("nan"), 2.0, -3.0]])
def test_arrays_are_read_also_with_a_layout(values):
    plain = array(values)
    assert np.array_equal(cdr.ArrayReader().read(serialized(plain)), values, equal_nan=True)
    dimension = STORE.types["std_msgs/msg/MultiArrayDimension"]
    plain.layout.dim = [dimension(label="rows", size=1, stride=3), dimension(label="x", size=3, stride=3)]
    assert np.array_equal(cdr.ArrayReader().read(serialized(plain)), values, equal_nan=True)


def points_of(message) -> list[tuple[int, list[float], list[float]]]:
    return [
        (p.time_from_start.sec * 10**9 + p.time_from_start.nanosec, list(p.positions), list(p.velocities))
        for p in message.points
    ]


def test_trajectories_are_read_whatever_their_points_have_and_however_it_changes():
    random, reader = np.random.default_rng(2), cdr.JointTrajectoryReader()
    message = None
    for _ in range(300):
        if message is None or random.random() < 0.5:  # the others differ in their values only, as those of a node
            names = [f"joint{'x' * random.integers(4)}{i}" for i in range(random.integers(4))]
            message = trajectory(STAMP, names, [(0.0, [])] * random.integers(4))
            message.header.frame_id = "f" * random.integers(9)
            sizes = [random.integers(0, 4, 4) for _ in message.points]
        for point, counts in zip(message.points, sizes, strict=True):
            point.time_from_start.sec = int(random.integers(-2, 5))
            point.time_from_start.nanosec = int(random.integers(0, 10**9))
            values = [random.normal(0.0, 1.0, count) for count in counts]
            point.positions, point.velocities, point.accelerations, point.effort = values
        little = bool(random.random() < 0.8)
        data = bytes(STORE.serialize_cdr(message, message.__msgtype__, little_endian=little))
        found = reader.read(data)
        assert (found.start_ns, found.joint_names) == (STAMP, names)
        assert [(p.time_from_start_ns, list(p.positions), list(p.velocities)) for p in found.points] == points_of(
            message
        )


def test_a_trajectory_without_a_stamp_starts_at_once():
    assert cdr.JointTrajectoryReader().read(serialized(trajectory(0, ["a"], [(0.1, [1.0])]))).start_ns is None


def fields(read) -> str:
    """Comparable: pictures are not."""
    values = read if isinstance(read, tuple) else (read,)
    return repr([bytes(value.data) if hasattr(value, "data") else value for value in values])


def test_a_reader_notices_every_change_of_what_is_mostly_the_same():
    reader = cdr.JointStateReader()
    for names, positions, little in (
        (["a", "b"], [1.0, 2.0], True),
        (["a", "b"], [3.0, 4.0], True),
        (["b", "a"], [5.0, 6.0], True),
        (["b", "a"], [7.0, 8.0], False),
        (["b", "a", "c"], [7.0, 8.0, 9.0], False),
        (["b", "a", "c"], [], False),
        (["a"], [1.0], True),
    ):
        message = joint_state(STAMP, names, positions)
        data = bytes(STORE.serialize_cdr(message, message.__msgtype__, little_endian=little))
        assert reader.read(data) == (STAMP, names, tuple(positions))
    images = cdr.ImageReader()
    for pixels, encoding, padding in ((PIXELS, "rgb8", 0), (PIXELS, "bgr8", 0), (PIXELS[:3], "rgb8", 2)):
        _, picture = images.read(serialized(image(STAMP, pixels, encoding, padding)))
        assert (picture.height, picture.encoding, picture.step) == (len(pixels), encoding, 21 + padding)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (cdr.JointStateReader(), joint_state(STAMP, ["a", "bc"], [1.0, 2.0])),
        (cdr.ImageReader(), image(STAMP, PIXELS)),
        (cdr.CompressedImageReader(), compressed_image(STAMP, b"123")),
        (cdr.ArrayReader(), array([1.0, 2.0])),
        (cdr.JointTrajectoryReader(), trajectory(STAMP, ["a", "bc"], [(0.1, [1.0, 2.0]), (0.2, [3.0, 4.0])])),
    ],
)
def test_a_message_that_is_cut_off_anywhere_is_malformed(reader, message):
    data = serialized(message)
    whole = fields(reader.read(data))
    for size in range(len(data)):
        try:
            found = fields(reader.read(data[:size]))
        except MalformedMessage:
            continue
        assert found == whole  # only what is not looked at was missing


def test_bytes_that_are_no_cdr_are_malformed():
    with pytest.raises(MalformedMessage, match="expected a message in CDR, got 6 bytes"):
        cdr.JointStateReader().read(b"hello!")
    with pytest.raises(MalformedMessage, match="expected text"):
        cdr.CompressedImageReader().read(b"\x00\x01\x00\x00" + bytes(8) + b"\x03\x00\x00\x00\xff\xfe\x00")
