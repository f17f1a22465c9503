# SPDX-License-Identifier: Apache-2.0
"""Recorded messages into the rings of an observation, as the running node's subscriptions put them there."""

from __future__ import annotations

from collections.abc import Callable

from policy_ros.bags import cdr
from policy_ros.bags.bag import Bag
from policy_ros.bags.errors import MalformedMessage
from policy_ros.bags.jumps import Jump, StampOrder
from policy_ros.bags.storage import BagMessage
from policy_ros.bags.topics import require_topic
from policy_ros.observation import CameraStream, ObservationAssembler, ObservationConfig
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import absolute_topic, camera_topic

JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
FLOAT64_MULTI_ARRAY = "std_msgs/msg/Float64MultiArray"

# Of a stamp from the time of recording: more than any age at which a sample is of use.
_LARGEST_OFFSET_NS = 10_000_000_000

_Push = Callable[[ObservationAssembler, int], None]  # with the time of recording [ns]
_Parse = Callable[[bytes | memoryview], tuple[int, _Push]]  # the stamp of a message, 0 where it has none, and its push


class BagInputs:
    """What :class:`policy_ros.ros.inputs.Inputs` is to a running node.

    The same topics by the same parameters; a message counts as received when it was recorded.

    Args:
        parameters: the node's.
        config: the streams that the assembler expects.
        bag: where the messages come from.
        namespace: the node's, for relative topics.

    Attributes:
        topics: all that are needed, absolute.
        jumps: where header stamps ran backwards; the assembler was cleared there.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
    """

    def __init__(
        self, parameters: NodeParameters, config: ObservationConfig, bag: Bag, *, namespace: str = "/"
    ) -> None:
        self.jumps: list[Jump] = []
        self._bag = bag
        self._order = StampOrder(future_tolerance_ns=round(config.future_tolerance_s * 1e9))
        self._parsers: dict[str, list[_Parse]] = {}
        if config.joints:
            self._add(parameters.joints.topic, namespace, JOINT_STATE, "joints.topic", _joints())
        for camera in config.cameras:
            self._add_camera(camera, parameters, namespace)
        if config.environment_state is not None:
            parse = _environment(config.environment_state.stream)
            topic = parameters.observation.environment_topic
            self._add(topic, namespace, FLOAT64_MULTI_ARRAY, "observation.environment_topic", parse)
        self.topics: tuple[str, ...] = tuple(self._parsers)

    def feed(self, message: BagMessage, assembler: ObservationAssembler) -> Jump | None:
        """Push a message; other topics' messages are ignored. One that is malformed becomes a problem of the bag.

        Where header stamps ran backwards, the assembler is cleared before, so that no observation mixes what came
        before and after, and the jump is returned.
        """
        jump = None
        for parse in self._parsers.get(message.topic, ()):
            try:
                stamp_ns, push = parse(message.data)
            except MalformedMessage as error:
                self._note(message.topic, str(error), "malformed")
                continue
            jump = self._jump(message, stamp_ns) or jump
            if jump is not None:
                assembler.clear()
            push(assembler, message.log_ns)
        return jump

    def _jump(self, message: BagMessage, stamp_ns: int) -> Jump | None:
        topic, log_ns = message.topic, message.log_ns
        if stamp_ns and abs(stamp_ns - log_ns) > _LARGEST_OFFSET_NS:
            self._note(
                topic,
                f"expected header stamps near the time of recording, got one {(stamp_ns - log_ns) * 1e-9:+.1f} s from "
                "it, of which no observation can be made; synchronise the clocks, or record simulated time with "
                "--use-sim-time",
                "offset",
            )
        jump = self._order.saw(topic, log_ns, stamp_ns)
        if jump is not None:
            self.jumps.append(jump)
            self._note(
                topic,
                f"expected header stamps that increase, got a jump back by {jump.back_s:.3f} s after "
                f"{(log_ns - self._bag.start_ns) * 1e-9:.3f} s (a clock was set back, or a recording was played "
                "in a loop); no observation reaches across it",
                "jump",
            )
        return jump

    def _note(self, topic: str, text: str, kind: str) -> None:
        self._bag.note(f"{self._bag.path}: topic '{topic}': {text}", topic, kind)

    def _add_camera(self, stream: CameraStream, parameters: NodeParameters, namespace: str) -> None:
        camera = parameters.cameras[stream.name]
        type_ = COMPRESSED_IMAGE if camera.compressed else IMAGE
        reader = cdr.CompressedImageReader() if camera.compressed else cdr.ImageReader()
        hint = f"set cameras.{stream.name}.compressed and cameras.{stream.name}.topic to what was recorded"
        topic, parse = camera_topic(stream.name, camera), _images(stream.name, reader)
        self._add(topic, namespace, type_, f"cameras.{stream.name}", parse, hint)

    def _add(self, name: str, namespace: str, type_: str, purpose: str, parse: _Parse, hint: str = "") -> None:
        topic = absolute_topic(name, namespace)
        require_topic(self._bag, topic, type_, purpose, hint)
        self._parsers.setdefault(topic, []).append(parse)


def _joints() -> _Parse:
    reader = cdr.JointStateReader()

    def parse(data: bytes | memoryview) -> tuple[int, _Push]:
        stamp_ns, names, positions = reader.read(data)

        def push(assembler: ObservationAssembler, receive_ns: int) -> None:
            assembler.push_joints(names, positions, stamp_ns=stamp_ns, receive_ns=receive_ns)

        return stamp_ns, push

    return parse


def _images(camera: str, reader: cdr.ImageReader | cdr.CompressedImageReader) -> _Parse:
    def parse(data: bytes | memoryview) -> tuple[int, _Push]:
        stamp_ns, image = reader.read(data)

        def push(assembler: ObservationAssembler, receive_ns: int) -> None:
            assembler.push_image(camera, image, stamp_ns=stamp_ns, receive_ns=receive_ns)

        return stamp_ns, push

    return parse


def _environment(stream: str) -> _Parse:
    reader = cdr.ArrayReader()

    def parse(data: bytes | memoryview) -> tuple[int, _Push]:
        values = reader.read(data)

        def push(assembler: ObservationAssembler, receive_ns: int) -> None:
            assembler.push_vector(stream, values, stamp_ns=0, receive_ns=receive_ns)

        return 0, push

    return parse
