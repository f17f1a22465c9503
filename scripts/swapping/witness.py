# SPDX-License-Identifier: Apache-2.0
"""Listens to the commands and the status of the node, and asks it for policies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from policy_ros.msg import PolicyStatus
from policy_ros.parameters.node import NodeParameters

NODE = "policy"
_TYPES = {"joint_trajectory": JointTrajectory, "position_array": Float64MultiArray}
_POLL_S = 0.005
_CALL_S = 30.0


class Unexpected(Exception):
    """What should have happened did not."""


@dataclass(frozen=True)
class Command:
    """One command: when it was published [s since the epoch] and its row 0."""

    time_s: float
    row: np.ndarray


class Witness:
    """Runs a context and a thread of its own.

    Args:
        parameters: of the node.
    """

    def __init__(self, parameters: NodeParameters) -> None:
        self.commands: dict[str, list[Command]] = {name: [] for name in parameters.outputs}
        self.statuses: list[PolicyStatus] = []
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("witness", context=self._context)
        reliable = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
        for name, output in parameters.outputs.items():
            self._node.create_subscription(_TYPES[output.type], output.topic, self._on_command(name), reliable)
        self._node.create_subscription(PolicyStatus, f"{NODE}/status", self.statuses.append, reliable)
        self._clients: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="witness", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End thread and context."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @property
    def status(self) -> PolicyStatus:
        """The newest."""
        return self.statuses[-1]

    @property
    def state(self) -> str:
        """Of the node's lifecycle."""
        return self._call(GetState, "get_state", GetState.Request()).current_state.label

    def ask_for(self, path: str) -> tuple[str, float]:
        """Set ``policy.path``: the reason of a refusal, or nothing, and the time that the answer took [s]."""
        request = SetParameters.Request(parameters=[Parameter("policy.path", value=path).to_parameter_msg()])
        began_s = time.monotonic()
        result = self._call(SetParameters, "set_parameters", request).results[0]
        return "" if result.successful else result.reason or "refused", time.monotonic() - began_s

    def path_parameter(self) -> str:
        """``policy.path`` as the node tells it."""
        values = self._call(GetParameters, "get_parameters", GetParameters.Request(names=["policy.path"])).values
        return values[0].string_value

    def wait_for(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        """Until it holds.

        Raises:
            Unexpected: it did not.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise Unexpected(f"waited {timeout_s:g} s for {what}")
            time.sleep(_POLL_S)

    def _call(self, service_type: type, name: str, request: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(service_type, f"{NODE}/{name}")
        client = self._clients[name]
        self.wait_for(client.service_is_ready, _CALL_S, f"service {name}")
        future = client.call_async(request)
        self.wait_for(future.done, _CALL_S, f"an answer of {name}")
        return future.result()

    def _on_command(self, output: str) -> Callable[[Any, dict[str, int]], None]:
        commands = self.commands[output]

        # rclpy tells a callback's wish for the message's info from its signature.
        def on_command(message: Any, info: dict[str, int]) -> None:
            row = message.points[0].positions if isinstance(message, JointTrajectory) else message.data
            commands.append(Command(info["source_timestamp"] * 1e-9, np.array(row)))

        return on_command

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # closed while waiting
            self._executor.spin()


def stamp_s(status: PolicyStatus) -> float:
    """When it was published [s since the epoch]."""
    return status.header.stamp.sec + status.header.stamp.nanosec * 1e-9
