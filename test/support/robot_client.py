# SPDX-License-Identifier: Apache-2.0
"""A client of the simulated robot: listens to everything and commands it."""

from __future__ import annotations

import array
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from support.waiting import BUSY_FACTOR

ARM = ["joint1", "joint2", "joint3"]
START_S = 30.0
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>large_shared_memory</transport_id>
        <type>SHM</type>
        <segment_size>16777216</segment_size>
      </transport_descriptor>
      <transport_descriptor>
        <transport_id>udp</transport_id>
        <type>UDPv4</type>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="large_images" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>large_shared_memory</transport_id>
          <transport_id>udp</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""


class RobotClient:
    """A node that listens to the robot and commands it; callbacks run while a test waits."""

    def __init__(self, domain_id: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node("client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received: dict[str, list] = defaultdict(list)
        self.listen(JointState, "joint_states")
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.received["diagnostics"].append, 10)
        self.trajectories = self.node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", 1)
        self.arm_positions = self.node.create_publisher(Float64MultiArray, "arm_controller/commands", 1)
        self.gripper = self.node.create_publisher(Float64MultiArray, "gripper_controller/commands", 1)

    def listen(self, message_type: type, topic: str) -> None:
        def keep(message) -> None:
            messages = self.received[topic]
            messages.append(message)
            if message_type is Image and len(messages) > 2:
                messages[-3].data = array.array("B")  # the stamp is enough; pixels of the newest two only

        self.node.create_subscription(message_type, topic, keep, qos_profile_sensor_data)

    def listen_reliably(self, message_type: type, topic: str) -> None:
        self.node.create_subscription(message_type, topic, self.received[topic].append, 100)

    def wait_for(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        timeout_s *= BUSY_FACTOR
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
            self._executor.spin_once(timeout_sec=0.05)

    def wait_for_robot(self) -> None:
        self.wait_for(lambda: self.received["joint_states"], START_S, "joint states")

    def wait_for_subscriber(self, publisher) -> None:
        self.wait_for(lambda: publisher.get_subscription_count() > 0, 10.0, f"a subscriber of {publisher.topic_name}")

    def positions(self) -> np.ndarray:
        return np.array(self.received["joint_states"][-1].position)

    def diagnostics(self) -> dict[str, str]:
        """Values of the newest entry about the robot; empty before the first."""
        if not self.received["diagnostics"]:
            return {}
        return {value.key: value.value for value in self.received["diagnostics"][-1].status[0].values}

    def robot_diagnostic(self) -> str:
        """Message of the newest entry about the robot."""
        return self.received["diagnostics"][-1].status[0].message if self.received["diagnostics"] else ""

    def call_reset(self) -> Trigger.Response:
        client = self.node.create_client(Trigger, "simulated_robot/reset")
        self.wait_for(client.service_is_ready, 10.0, "the reset service")
        future = client.call_async(Trigger.Request())
        self.wait_for(future.done, 10.0, "the reset's answer")
        return future.result()

    def set_parameter(self, name: str, value: object) -> str:
        """Set a parameter of the bridge; the reason of a refusal, or an empty string."""
        client = self.node.create_client(SetParameters, "simulated_robot/set_parameters")
        self.wait_for(client.service_is_ready, 10.0, "the parameter service")
        parameter = Parameter(name, Parameter.Type.STRING_ARRAY if value == [] else None, value)
        future = client.call_async(SetParameters.Request(parameters=[parameter.to_parameter_msg()]))
        self.wait_for(future.done, 10.0, "the parameter service's answer")
        return future.result().results[0].reason

    def wait_for_more(self, topic: str, count: int = 5) -> None:
        """Until so many messages came from now on."""
        seen = len(self.received[topic])
        self.wait_for(lambda: len(self.received[topic]) >= seen + count, 10.0, f"{count} messages on {topic}")

    def command_arm(self, positions: list[float], seconds: float = 1.0, **changes: object) -> None:
        point = JointTrajectoryPoint(
            positions=positions,
            velocities=[0.0] * len(positions),
            time_from_start=Duration(sec=int(seconds), nanosec=round(seconds % 1 * 1e9)),
        )
        self.trajectories.publish(JointTrajectory(**{"joint_names": ARM, "points": [point], **changes}))

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)
