# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that feed the observation rings. Callbacks only store; decoding happens on the inference thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
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


@dataclass
class _Tap:
    """One subscription and the assemblers that get its samples."""

    subscription: Subscription
    sinks: tuple[ObservationAssembler, ...]  # replaced as a whole: the callbacks read it on another thread


class Inputs:
    """All subscriptions of a configured node.

    Several assemblers may be fed at a time, each stream by one subscription: while a policy that observes something
    else is being brought in, its assembler fills beside the one in use.

    Nothing is stored until :attr:`accepting` is set: an inactive node processes nothing.

    Args:
        node: subscribes.
        time: receive time, and what stamps are converted to.
    """

    def __init__(self, node: Node, time: LocalTime) -> None:
        self.accepting = False
        self.topics: dict[str, str] = {}
        self.mismatches: dict[str, str] = {}
        self._node = node
        self._time = time
        # One callback at a time, beside lifecycle services which run in a group of their own.
        self._group = MutuallyExclusiveCallbackGroup()
        self._taps: dict[str, _Tap] = {}
        self._changing = threading.Lock()  # of the taps; the callbacks only read them

    def feed(self, assembler: ObservationAssembler, config: ObservationConfig, parameters: NodeParameters) -> None:
        """Subscribe to what an assembler expects.

        Args:
            assembler: receives the samples from now on.
            config: its streams.
            parameters: topics and QoS.
        """
        joints, environment = parameters.joints, config.environment_state
        push = self._push_joints
        with self._changing:
            self._tap(assembler, JOINT_STREAM, JointState, joints.topic, joints.reliability, push, depth=_JOINT_DEPTH)
            for camera in config.cameras:
                self._tap_camera(assembler, camera, parameters)
            if environment is not None:
                topic, vector = parameters.observation.environment_topic, self._push_vector(environment.stream)
                self._tap(assembler, environment.stream, Float64MultiArray, topic, "best_effort", vector)

    def keep_only(self, assemblers: Collection[ObservationAssembler]) -> None:
        """Feed all others no more."""
        with self._changing:
            fed = {sink for tap in self._taps.values() for sink in tap.sinks}
        for assembler in fed - set(assemblers):
            self.forget(assembler)

    def forget(self, assembler: ObservationAssembler) -> None:
        """Feed it no more; subscriptions that nobody needs then are removed."""
        with self._changing:
            for stream, tap in list(self._taps.items()):
                tap.sinks = tuple(sink for sink in tap.sinks if sink is not assembler)
                if not tap.sinks:
                    self._remove(stream)

    def destroy(self) -> None:
        """Remove all subscriptions."""
        self.accepting = False
        with self._changing:
            for stream in list(self._taps):
                self._remove(stream)

    def describe_missing(self, names: tuple[str, ...]) -> str:
        """One line for what never came, as ``ObservationAssembler.missing`` names it: topic, publishers, hint."""
        return "; ".join(self._describe_missing(name) for name in names)

    def _describe_missing(self, name: str) -> str:
        subject, stream = f"stream '{name}'", name
        if name not in self.topics:
            stream, joint = JOINT_STREAM, name.removeprefix(f"{JOINT_STREAM}/")
            subject = f"joint '{joint}'"
        return never_came(self._node, subject, self.topics[stream], self.mismatches.get(stream, ""))

    def _tap_camera(self, assembler: ObservationAssembler, stream: CameraStream, parameters: NodeParameters) -> None:
        name, camera = stream.name, parameters.cameras[stream.name]
        convert = compressed_image if camera.compressed else raw_image

        def push(sink: ObservationAssembler, message: Image | CompressedImage) -> None:
            receive_ns, stamp_ns = self._times(message)
            sink.push_image(name, convert(message), stamp_ns=stamp_ns, receive_ns=receive_ns)

        message_type = CompressedImage if camera.compressed else Image
        self._tap(assembler, stream.stream, message_type, camera_topic(name, camera), camera.reliability, push)

    def _push_vector(self, stream: str) -> Callable[[ObservationAssembler, Float64MultiArray], None]:
        def push(sink: ObservationAssembler, message: Float64MultiArray) -> None:
            sink.push_vector(stream, message.data, stamp_ns=0, receive_ns=self._time.now_ns())

        return push

    def _push_joints(self, sink: ObservationAssembler, message: JointState) -> None:
        receive_ns, stamp_ns = self._times(message)
        sink.push_joints(message.name, message.position, stamp_ns=stamp_ns, receive_ns=receive_ns)

    def _tap(
        self,
        assembler: ObservationAssembler,
        stream: str,
        message_type: type,
        topic: str,
        reliability: str,
        push: Callable[[ObservationAssembler, Any], None],
        *,
        depth: int = 1,
    ) -> None:
        if stream in self._taps:
            self._taps[stream].sinks += (assembler,)
            return

        def on_message(message: Any) -> None:
            tap = self._taps.get(stream)
            if self.accepting and tap is not None:
                for sink in tap.sinks:
                    push(sink, message)

        def on_mismatch(event: Any) -> None:
            text = mismatch(subscription.topic_name, event.last_policy_kind)
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
        self._taps[stream] = _Tap(subscription, (assembler,))

    def _remove(self, stream: str) -> None:
        self._node.destroy_subscription(self._taps.pop(stream).subscription)
        self.mismatches.pop(stream, None)

    def _times(self, message: Any) -> tuple[int, int]:
        """Receive time and stamp, both local; a stamp of zero stays zero."""
        receive_ns = self._time.now_ns()
        stamp_ns = stamp_to_ns(message.header.stamp)
        return receive_ns, self._time.to_local(stamp_ns) if stamp_ns else 0
