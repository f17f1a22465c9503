# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that feed the observation rings. Callbacks only store; decoding happens on the inference thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from policy_ros.observation import CameraStream, ObservationAssembler, ObservationConfig
from policy_ros.observation.config import JOINT_STREAM
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import camera_topic
from policy_ros.ros.clocks import LocalTime
from policy_ros.ros.convert import compressed_image, raw_image, stamp_to_ns
from policy_ros.ros.guarded import guarded
from policy_ros.ros.qos import mismatch, sensor
from policy_ros.ros.topics import never_came

# Arm, gripper and base may each publish a part; more would only make a busy node look at old samples.
_JOINT_DEPTH = 5


class Inputs:
    """All subscriptions of a configured node.

    Nothing is stored until :attr:`accepting` is set: an inactive node processes nothing.

    Args:
        node: subscribes.
        assembler: receives the samples.
        config: the streams it expects.
        parameters: topics and QoS.
        time: receive time, and what stamps are converted to.
    """

    def __init__(
        self,
        node: Node,
        assembler: ObservationAssembler,
        config: ObservationConfig,
        parameters: NodeParameters,
        time: LocalTime,
    ) -> None:
        self.accepting = False
        self.topics: dict[str, str] = {}
        self.mismatches: dict[str, str] = {}
        self._node = node
        self._assembler = assembler
        self._time = time
        # One callback at a time, beside lifecycle services which run in a group of their own.
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscriptions: list[Subscription] = []
        joints = parameters.joints
        self._subscribe(JOINT_STREAM, JointState, joints.topic, joints.reliability, self._on_joints, depth=_JOINT_DEPTH)
        for camera in config.cameras:
            self._subscribe_camera(camera, parameters)
        if config.environment_state is not None:
            self._subscribe_environment(config.environment_state.stream, parameters.observation.environment_topic)

    def destroy(self) -> None:
        """Remove all subscriptions."""
        self.accepting = False
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def describe_missing(self, names: tuple[str, ...]) -> str:
        """One line for what never came, as ``ObservationAssembler.missing`` names it: topic, publishers, hint."""
        return "; ".join(self._describe_missing(name) for name in names)

    def _describe_missing(self, name: str) -> str:
        subject, stream = f"stream '{name}'", name
        if name not in self.topics:
            stream, joint = JOINT_STREAM, name.removeprefix(f"{JOINT_STREAM}/")
            subject = f"joint '{joint}'"
        return never_came(self._node, subject, self.topics[stream], self.mismatches.get(stream, ""))

    def _subscribe_camera(self, stream: CameraStream, parameters: NodeParameters) -> None:
        name, camera = stream.name, parameters.cameras[stream.name]
        convert = compressed_image if camera.compressed else raw_image

        def on_image(message: Image | CompressedImage) -> None:
            receive_ns, stamp_ns = self._times(message)
            self._assembler.push_image(name, convert(message), stamp_ns=stamp_ns, receive_ns=receive_ns)

        message_type = CompressedImage if camera.compressed else Image
        self._subscribe(stream.stream, message_type, camera_topic(name, camera), camera.reliability, on_image)

    def _subscribe_environment(self, stream: str, topic: str) -> None:
        def on_vector(message: Float64MultiArray) -> None:
            self._assembler.push_vector(stream, message.data, stamp_ns=0, receive_ns=self._time.now_ns())

        self._subscribe(stream, Float64MultiArray, topic, "best_effort", on_vector)

    def _subscribe(
        self,
        stream: str,
        message_type: type,
        topic: str,
        reliability: str,
        callback: Callable[[Any], None],
        *,
        depth: int = 1,
    ) -> None:
        def on_message(message: Any) -> None:
            if self.accepting:
                callback(message)

        def on_mismatch(event: Any) -> None:
            text = mismatch(self.topics[stream], event.last_policy_kind)
            self.mismatches[stream] = text
            self._node.get_logger().warning(text)

        subscription = self._node.create_subscription(
            message_type,
            topic,
            guarded(self._node, on_message),
            sensor(reliability, depth=depth),
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=guarded(self._node, on_mismatch)),
        )
        self.topics[stream] = subscription.topic_name
        self._subscriptions.append(subscription)

    def _times(self, message: Any) -> tuple[int, int]:
        """Receive time and stamp, both local; a stamp of zero stays zero."""
        receive_ns = self._time.now_ns()
        stamp_ns = stamp_to_ns(message.header.stamp)
        return receive_ns, self._time.to_local(stamp_ns) if stamp_ns else 0

    def _on_joints(self, message: JointState) -> None:
        receive_ns, stamp_ns = self._times(message)
        self._assembler.push_joints(message.name, message.position, stamp_ns=stamp_ns, receive_ns=receive_ns)
