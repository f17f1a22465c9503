# SPDX-License-Identifier: Apache-2.0
"""Frames of a dataset as the messages that a robot would have sent and received."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from policy_ros.bags.message_types import own_definitions
from policy_ros.lerobot_dataset.png import encode_png
from policy_ros.parameters.node import CameraParameters, NodeParameters, OutputParameters
from policy_ros.parameters.topics import absolute_topic, camera_topic

JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
JOINT_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
FLOAT64_MULTI_ARRAY = "std_msgs/msg/Float64MultiArray"
EPISODE = "policy_ros/msg/Episode"

Vector = NDArray[np.float64]
Serialized = tuple[str, bytes | memoryview]  # topic and CDR
_OUTPUTS = {"joint_trajectory": JOINT_TRAJECTORY, "position_array": FLOAT64_MULTI_ARRAY}


class Messages:
    """Makes the messages of one robot.

    Args:
        parameters: the node's: which topics, which types, which joints.
        state_names: joints of the joint states.
        cameras: names of the cameras.
        environment: whether the environment has a state.
        namespace: for relative topics.

    Attributes:
        store: of the messages' types.
        topics: topic to type, of everything there will be.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        state_names: Sequence[str],
        cameras: Sequence[str],
        *,
        environment: bool,
        namespace: str,
    ) -> None:
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.store.register(own_definitions())
        self._types: Any = self.store.types
        self._parameters, self._namespace = parameters, namespace
        self._state_names = list(state_names)
        self._joints = absolute_topic(parameters.joints.topic, namespace)
        self._environment = absolute_topic(parameters.observation.environment_topic, namespace)
        self._episode = absolute_topic("episode", namespace)
        self._cameras = {name: self._camera_topic(name) for name in cameras}
        self.topics = {self._joints: JOINT_STATE, self._episode: EPISODE}
        for name, topic in self._cameras.items():
            self.topics[topic] = COMPRESSED_IMAGE if self._camera(name).compressed else IMAGE
        for output in parameters.outputs.values():
            self.topics[absolute_topic(output.topic, namespace)] = _OUTPUTS[output.type]
        if environment:
            self.topics[self._environment] = FLOAT64_MULTI_ARRAY

    def joint_state(self, stamp_ns: int, positions: Vector) -> Serialized:
        """Positions ``(J,)`` [rad, m]."""
        message = self._types[JOINT_STATE](
            self._header(stamp_ns), self._state_names, positions, np.empty(0), np.empty(0)
        )
        return self._serialized(self._joints, message, JOINT_STATE)

    def image(self, stamp_ns: int, camera: str, image: NDArray[np.uint8]) -> Serialized:
        """A picture ``(3, H, W)``, as it is or, of a camera that is ``compressed``, as PNG file."""
        topic, header = self._cameras[camera], self._header(stamp_ns, frame_id=camera)
        if self._camera(camera).compressed:
            data = np.frombuffer(encode_png(image), np.uint8)
            message = self._types[COMPRESSED_IMAGE](header, "rgb8; png compressed bgr8", data)
            return self._serialized(topic, message, COMPRESSED_IMAGE)
        _, height, width = image.shape
        data = np.ascontiguousarray(image.transpose(1, 2, 0)).reshape(-1)
        message = self._types[IMAGE](header, height, width, "rgb8", 0, 3 * width, data)
        return self._serialized(topic, message, IMAGE)

    def environment_state(self, values: Vector) -> Serialized:
        """The state of the environment ``(n,)``, which has no stamp."""
        return self._serialized(self._environment, self._array(values), FLOAT64_MULTI_ARRAY)

    def commands(self, stamp_ns: int, positions: Vector, reach_s: float) -> Iterator[Serialized]:
        """A command to each output.

        Args:
            positions: where the joints shall be, ``(A,)`` in the order of ``joints.names`` [rad, m].
            reach_s: how long a trajectory takes to get there.
        """
        make: dict[str, Callable[[OutputParameters, int, Vector, float], Any]] = {
            "joint_trajectory": self._trajectory,
            "position_array": lambda output, stamp_ns, values, reach_s: self._array(values),
        }
        names = self._parameters.joints.names
        for output in self._parameters.outputs.values():
            values = positions[[names.index(joint) for joint in output.joints]]
            message = make[output.type](output, stamp_ns, values, reach_s)
            yield self._serialized(absolute_topic(output.topic, self._namespace), message, _OUTPUTS[output.type])

    def episode(self, stamp_ns: int, index: int, event: int, task: str) -> Serialized:
        """The begin or the end of an episode, which nobody has judged."""
        message = self._types[EPISODE](self._header(stamp_ns), index, event, 0, task)
        return self._serialized(self._episode, message, EPISODE)

    def _camera(self, name: str) -> CameraParameters:
        return self._parameters.cameras[name]

    def _camera_topic(self, name: str) -> str:
        return absolute_topic(camera_topic(name, self._camera(name)), self._namespace)

    def _trajectory(self, output: OutputParameters, stamp_ns: int, positions: Vector, reach_s: float) -> Any:
        reach = self._types["builtin_interfaces/msg/Duration"](0, round(reach_s * 1e9))
        nothing = np.empty(0)
        point = self._types["trajectory_msgs/msg/JointTrajectoryPoint"](positions, nothing, nothing, nothing, reach)
        return self._types[JOINT_TRAJECTORY](self._header(stamp_ns), list(output.joints), [point])

    def _array(self, values: Vector) -> Any:
        layout = self._types["std_msgs/msg/MultiArrayLayout"]([], 0)
        return self._types[FLOAT64_MULTI_ARRAY](layout, values)

    def _header(self, stamp_ns: int, frame_id: str = "") -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        return self._types["std_msgs/msg/Header"](
            self._types["builtin_interfaces/msg/Time"](seconds, nanoseconds), frame_id
        )

    def _serialized(self, topic: str, message: Any, type_: str) -> Serialized:
        return topic, self.store.serialize_cdr(message, type_)
