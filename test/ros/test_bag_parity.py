# SPDX-License-Identifier: Apache-2.0
"""The observation that trains is the one that runs: the same messages over DDS and out of a bag, to the byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from support.bags import Recording
from support.waiting import wait_for

from policy_ros.bags import BagInputs, open_bag
from policy_ros.data import Observation
from policy_ros.observation import (
    CameraStream,
    NotReady,
    ObservationAssembler,
    ObservationConfig,
    VectorStream,
)
from policy_ros.parameters.node import CameraParameters, JointParameters, NodeParameters
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.images import make_decoder
from policy_ros.ros.inputs import Inputs

NAMESPACE = "/left"
BEGIN_NS = 1_700_000_000_000_000_000
DEADLINE_S = 30.0
PARAMETERS = NodeParameters(
    joints=JointParameters(names=("a", "b"), reliability="reliable"),
    cameras={
        "top": CameraParameters(reliability="reliable"),
        "wrist": CameraParameters(compressed=True, reliability="reliable"),
    },
)
CONFIG = ObservationConfig(
    joints=("a", "b"),
    cameras=(CameraStream("top", "observation.images.top"), CameraStream("wrist", "observation.images.wrist")),
    environment_state=VectorStream(3),
    n_obs_steps=2,
)
TYPES = {
    "/left/joint_states": ("sensor_msgs/msg/JointState", JointState),
    "/left/camera/top/image_raw": ("sensor_msgs/msg/Image", Image),
    "/left/camera/wrist/image_raw/compressed": ("sensor_msgs/msg/CompressedImage", CompressedImage),
    "/left/environment_state": ("std_msgs/msg/Float64MultiArray", Float64MultiArray),
}
JOINTS, TOP, WRIST, ENVIRONMENT = TYPES
RNG = np.random.default_rng(3)


@dataclass
class ScriptedTime:
    """The clock of a node, as the test sets it."""

    ns: int = BEGIN_NS

    def now_ns(self) -> int:
        return self.ns

    def to_local(self, stamp_ns: int) -> int:
        return stamp_ns

    def to_ros(self, local_ns: int) -> int:
        return local_ns


@dataclass
class Live:
    """A node with the real inputs, a publisher for each topic, and a recorder of the bytes that arrive."""

    node: Node
    executor: SingleThreadedExecutor
    time: ScriptedTime
    assembler: ObservationAssembler
    publishers: dict[str, Any]
    recorded: list[tuple[str, int, bytes]] = field(default_factory=list)

    def send(self, topic: str, log_ns: int, message: Any) -> None:
        """Publish at a time of the script, and wait until node and recorder have it."""
        self.time.ns = log_ns
        before, recorded = self.received(), len(self.recorded)
        self.publishers[topic].publish(message)

        def arrived() -> bool:
            self.executor.spin_once(timeout_sec=0.05)
            return self.received() > before and len(self.recorded) > recorded

        wait_for(arrived, DEADLINE_S, f"a message on {topic}")

    def received(self) -> int:
        return sum(stream.received for stream in self.assembler.statistics(self.time.ns).values())


@pytest.fixture
def live(domain_id: int) -> Iterator[Live]:
    context = Context()
    context.init(domain_id=domain_id)
    executor = SingleThreadedExecutor(context=context)
    node = Node("policy", namespace=NAMESPACE, context=context, enable_rosout=False, start_parameter_services=False)
    recorder = Node("recorder", context=context, enable_rosout=False, start_parameter_services=False)
    time = ScriptedTime()
    assembler = ObservationAssembler(CONFIG, make_decoder())
    inputs = Inputs(node, time)
    inputs.feed(assembler, CONFIG, PARAMETERS)
    inputs.accepting = True
    publishers = {topic: recorder.create_publisher(class_, topic, 5) for topic, (_, class_) in TYPES.items()}
    robot = Live(node, executor, time, assembler, publishers)
    for topic, (_, class_) in TYPES.items():

        def record(data: bytes, topic: str = topic) -> None:
            robot.recorded.append((topic, time.ns, bytes(data)))

        recorder.create_subscription(class_, topic, record, 5, raw=True)
    executor.add_node(node)
    executor.add_node(recorder)
    for topic, publisher in publishers.items():
        wait_for(lambda p=publisher: p.get_subscription_count() == 2, DEADLINE_S, f"both subscriptions of {topic}")
    yield robot
    inputs.destroy()
    executor.shutdown()
    recorder.destroy_node()
    node.destroy_node()
    context.shutdown()


def script() -> Iterator[tuple[str, int, Any]]:
    """Topic, time and message: half a second of a robot, with everything that a robot does to its observer."""
    for i in range(50):
        t = BEGIN_NS + i * 10_000_000
        yield JOINTS, t, joints(t - 2_000_000, ["a", "b", "other"], [math.sin(i), math.cos(i), 1.0 / 3.0])
        if i % 3 == 0:
            yield TOP, t + 1_000_000, raw(t - 8_000_000, ("rgb8", "bgr8", "mono8")[i // 3 % 3], padding=i % 4)
        if i % 4 == 0:
            yield WRIST, t + 2_000_000, compressed(t - 9_000_000, ".png" if i % 8 else ".jpg")
        if i % 2 == 0:
            yield ENVIRONMENT, t + 3_000_000, Float64MultiArray(data=[0.1 * i, -1.0 / 7.0, 1e30])
        yield from faults(i, t + 4_000_000)


def faults(i: int, t: int) -> Iterator[tuple[str, int, Any]]:
    """One of each, spread over the script."""
    if i == 10:
        yield JOINTS, t, joints(t, ["b"], [0.5])  # a part
        yield JOINTS, t + 1_000_000, joints(0, ["b", "a"], [0.25, 0.125])  # no stamp
    elif i == 15:
        yield JOINTS, t, joints(t, ["a", "b"], [math.nan, 0.0])
        yield JOINTS, t + 1, joints(t, ["a", "b"], [1.0])
        yield JOINTS, t + 2, joints(t + 5_000_000_000, ["a", "b"], [1.0, 2.0])  # from the future
    elif i == 20:
        yield TOP, t, raw(t - 300_000_000, "rgb8")  # older than the newest
        yield TOP, t + 1, raw(t, "32FC1")
        yield WRIST, t + 2, CompressedImage(header=header(t), format="png", data=b"no picture")
    elif i == 25:
        yield ENVIRONMENT, t, Float64MultiArray(data=[1.0])
        yield TOP, t + 1, raw(0, "rgb8")


def header(stamp_ns: int) -> Any:
    message = JointState().header
    message.stamp, message.frame_id = ns_to_stamp(stamp_ns), "base"
    return message


def joints(stamp_ns: int, names: list[str], positions: list[float]) -> JointState:
    return JointState(header=header(stamp_ns), name=names, position=positions, velocity=[0.5] * len(names))


def raw(stamp_ns: int, encoding: str, padding: int = 0) -> Image:
    step = 32 * (1 if encoding == "mono8" else 3) + padding
    data = RNG.integers(0, 256, 24 * step, dtype=np.uint8).tobytes()
    return Image(header=header(stamp_ns), height=24, width=32, encoding=encoding, step=step, data=data)


def compressed(stamp_ns: int, suffix: str) -> CompressedImage:
    _, data = cv2.imencode(suffix, RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return CompressedImage(header=header(stamp_ns), format={".png": "png", ".jpg": "jpeg"}[suffix], data=data.tobytes())


def assembled(assembler: ObservationAssembler, now_ns: int) -> Any:
    """Everything of an observation, bytes and all; or why there is none."""
    try:
        observation: Observation = assembler.assemble(now_ns)
    except NotReady as error:
        return str(error)
    features = {
        key: value if isinstance(value, str) else (value.dtype.str, value.shape, value.tobytes())
        for key, value in observation.features.items()
    }
    return features, dict(observation.stamps_ns), observation.stamp_ns


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_observations_of_a_bag_are_those_of_the_running_node_to_the_byte(live, tmp_path, storage):
    live.assembler.set_task("pick")
    of_the_node = []
    for topic, log_ns, message in script():
        live.send(topic, log_ns, message)
        of_the_node.append(assembled(live.assembler, log_ns))

    with Recording(tmp_path / "bag", storage) as recording:
        for topic, log_ns, data in live.recorded:
            recording.raw(topic, log_ns, TYPES[topic][0], data)
    bag = open_bag(tmp_path / "bag")
    assembler = ObservationAssembler(CONFIG, make_decoder())
    assembler.set_task("pick")
    inputs = BagInputs(PARAMETERS, CONFIG, bag, namespace=NAMESPACE)
    of_the_bag = []
    for message in bag.messages(inputs.topics):
        inputs.feed(message, assembler)
        of_the_bag.append(assembled(assembler, message.log_ns))

    ready = sum(not isinstance(each, str) for each in of_the_node)
    assert ready > 80, "most of the script makes observations"
    assert set(of_the_node[-1][0]) == {
        "observation.state",
        "observation.environment_state",
        "observation.images.top",
        "observation.images.wrist",
        "task",
    }
    assert of_the_bag == of_the_node
    assert dict(assembler.drops) == dict(live.assembler.drops)
    assert sum(assembler.drops.values()) == 7, "every fault of the script was one"
    assert dict(assembler.last_errors) == dict(live.assembler.last_errors)
    assert set(inputs.topics) == set(TYPES)


def test_messages_of_a_bag_are_deserialized_to_what_rclpy_makes_of_them(live, tmp_path):
    """Bytes as DDS delivered them: field for field."""
    sent: dict[str, Any] = {}
    for topic, log_ns, message in script():
        if topic not in sent:
            live.send(topic, log_ns, message)
            sent[topic] = deserialize_message(live.recorded[-1][2], TYPES[topic][1])
    with Recording(tmp_path / "bag") as recording:
        for topic, log_ns, data in live.recorded:
            recording.raw(topic, log_ns, TYPES[topic][0], data)
    bag = open_bag(tmp_path / "bag")
    read = {message.topic: bag.deserialize(message) for message in bag.messages(bag.topics)}
    assert set(read) == set(TYPES)
    for topic, message in read.items():
        assert sent[topic] == same_type(message, type(sent[topic]))


def same_type(message: Any, class_: Callable[..., Any]) -> Any:
    """The message of rosbags as one of rclpy."""
    names = class_.get_fields_and_field_types()  # type: ignore[attr-defined]
    values: dict[str, Any] = {}
    for name in names:
        value = getattr(message, name)
        default = getattr(class_(), name)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif hasattr(default, "get_fields_and_field_types"):
            value = same_type(value, type(default))
        values[name] = value
    return class_(**values)
