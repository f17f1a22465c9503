# SPDX-License-Identifier: Apache-2.0
"""Listens to everything the robot and the node publish and hands it to the referee; calls their services."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policy_ros.msg import ActionChunk, PolicyStatus
from policy_ros.parameters.node import NodeParameters
from soaking.events import Chunk, Command, Sample, Status
from soaking.referee import Referee

POLICY, ROBOT = "policy", "simulated_robot"
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
COUNTERS = (
    "chunks",
    "chunks_late",
    "chunks_guided",
    "chunks_rejected",
    "inference_errors",
    "commands",
    "holds",
    "gate_clamped",
    "deadlines_missed",
)
NUMBERS = ("guidance_weight", "inference_latency_p99", "command_period_p99", "observation_age_p99", "seam_jump")
ADVANCE_S = 0.5
POLL_S = 0.005
_NS = 1e-9
_MESSAGE_TYPES = {"joint_trajectory": JointTrajectory, "position_array": Float64MultiArray}


class Unanswered(Exception):
    """A service did not answer in time."""


class Observer:
    """Runs a context and a thread of its own.

    Args:
        parameters: of the policy node.
        referee: takes the events.
        domain_id: ROS domain; None: the environment's.
    """

    def __init__(self, parameters: NodeParameters, referee: Referee, *, domain_id: int | None = None) -> None:
        self.status: PolicyStatus | None = None
        self.commands = 0
        self._referee = referee
        self._sequence: dict[str, int] = {}
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("soak", context=self._context)
        self._clients: dict[str, Any] = {}
        self._subscribe(parameters)
        self._node.create_timer(
            ADVANCE_S, lambda: referee.advance(time.time()), clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="observer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End thread and context."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    # Services

    def transition(self, name: str, timeout_s: float) -> bool:
        """Ask the policy node for a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[name]
        return self._call(ChangeState, f"{POLICY}/change_state", request, timeout_s).success

    def state(self, timeout_s: float) -> str:
        """The policy node's state."""
        return self._call(GetState, f"{POLICY}/get_state", GetState.Request(), timeout_s).current_state.label

    def reset(self, timeout_s: float) -> bool:
        """``~/reset`` of the policy node; whether it was accepted."""
        return self._call(Trigger, f"{POLICY}/reset", Trigger.Request(), timeout_s).success

    def set_parameters(self, node: str, values: Mapping[str, Any], timeout_s: float) -> str:
        """Set parameters of a node; reasons of refusals, or an empty string."""
        request = SetParameters.Request(parameters=[_parameter(*item) for item in values.items()])
        results = self._call(SetParameters, f"{node}/set_parameters", request, timeout_s).results
        return "; ".join(result.reason or "refused without a reason" for result in results if not result.successful)

    def _call(self, service_type: type, name: str, request: Any, timeout_s: float) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(service_type, name)
        client, deadline = self._clients[name], time.monotonic() + timeout_s
        _wait(client.service_is_ready, deadline, f"{name} is not there")
        future = client.call_async(request)
        try:
            _wait(future.done, deadline, f"{name} did not answer within {timeout_s:g} s")
        finally:
            client.remove_pending_request(future)
        return future.result()

    # The graph

    def endpoints(self, topics: Mapping[str, str]) -> dict[str, int]:
        """Endpoints of the policy node on each topic; the values are ``publisher`` or ``subscription``."""
        found = {}
        for topic, kind in topics.items():
            ask = self._node.get_publishers_info_by_topic
            if kind == "subscription":
                ask = self._node.get_subscriptions_info_by_topic
            found[topic] = sum(info.node_name == POLICY for info in ask(topic))
        return found

    # Topics

    def _subscribe(self, parameters: NodeParameters) -> None:
        reliable = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        best_effort = QoSProfile(depth=60, reliability=ReliabilityPolicy.BEST_EFFORT)
        node = self._node
        for name, output in parameters.outputs.items():
            kind = _MESSAGE_TYPES[output.type]
            node.create_subscription(kind, output.topic, self._on_command(name), reliable)
        node.create_subscription(ActionChunk, f"{POLICY}/action_chunk", self._on_chunk, reliable)
        node.create_subscription(PolicyStatus, f"{POLICY}/status", self._on_status, reliable)
        node.create_subscription(JointState, parameters.joints.topic, self._on_joints, reliable)
        for name, camera in parameters.cameras.items():
            node.create_subscription(Image, camera.topic, self._on_image(f"camera/{name}"), best_effort, raw=True)

    def _on_command(self, output: str) -> Callable[[Any, dict[str, int]], None]:
        # rclpy tells a callback's wish for the message's info from its signature.
        def on_command(message: Any, info: dict[str, int]) -> None:
            number = info["publication_sequence_number"]
            lost = lost_before(number, self._sequence.get(output, 0))
            self._sequence[output] = number
            self.commands += 1
            self._referee.add(Command(info["source_timestamp"] * _NS, output, _rows(message), lost))

        return on_command

    def _on_chunk(self, message: ActionChunk) -> None:
        tick_s = _stamp_s(message) + message.delay * message.dt
        self._referee.add(Chunk(tick_s, message.epoch, message.horizon - message.delay))

    def _on_joints(self, message: JointState) -> None:
        positions = dict(zip(message.name, message.position, strict=True))
        self._referee.add(Sample(_stamp_s(message), "joint_states", positions))

    def _on_image(self, stream: str) -> Callable[[bytes], None]:
        def on_image(data: bytes) -> None:
            # Only the stamp is wanted: it comes first, after the four bytes that tell the encoding.
            seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
            self._referee.add(Sample(seconds + nanoseconds * _NS, stream))

        return on_image

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message
        counters = Counter({name: getattr(message, name) for name in COUNTERS})
        numbers = {name: getattr(message, name) for name in NUMBERS}
        self._referee.add(Status(_stamp_s(message), dict(counters), numbers, message.hold_cause))

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # closed while waiting
            self._executor.spin()


def lost_before(number: int, last: int) -> int:
    """Messages that did not come between two sequence numbers; a new publisher begins with 1, also unheard."""
    return number - 1 if number <= last else number - last - 1


def _wait(condition: Callable[[], bool], deadline: float, what: str) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise Unanswered(what)
        time.sleep(POLL_S)


def _parameter(name: str, value: Any) -> Any:
    kind = Parameter.Type.STRING_ARRAY if isinstance(value, (list, tuple)) else None
    return Parameter(name, kind, value).to_parameter_msg()


def _rows(message: JointTrajectory | Float64MultiArray) -> np.ndarray:
    if isinstance(message, Float64MultiArray):
        return np.array([message.data], dtype=np.float64)
    return np.array([point.positions for point in message.points], dtype=np.float64)


def _stamp_s(message: Any) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * _NS
