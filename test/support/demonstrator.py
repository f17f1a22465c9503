# SPDX-License-Identifier: Apache-2.0
"""A robot that is being demonstrated something: it keeps all that it published, as it was serialised."""

from __future__ import annotations

import threading
import time
from collections import defaultdict

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from policy_ros.msg import Episode
from policy_ros.ros.convert import ns_to_stamp
from policy_ros.ros.qos import LATCHED

JOINTS = ("shoulder", "elbow", "gripper")
PERIOD_S = 0.02
CAMERA_EVERY = 2
# A configuration of the policy node that fits.
PARAMETERS = {
    "joints.names": list(JOINTS),
    "cameras.front.topic": "camera/front/image_raw",
    "outputs.arm.type": "joint_trajectory",
    "outputs.arm.topic": "arm/joint_trajectory",
    "outputs.arm.joints": list(JOINTS[:2]),
    "outputs.gripper.type": "position_array",
    "outputs.gripper.topic": "gripper/commands",
    "outputs.gripper.joints": list(JOINTS[2:]),
}
DESCRIPTION = "<robot name='demonstrator'/>"


class Demonstrator:
    """Joint states and commands at 50 Hz, a camera at 25 Hz, until closed.

    Args:
        domain_id: ROS domain.
        camera: publish the camera.
        commands: publish commands.
        leader: publish the joint states of a leader arm.
        simulated_time: publish ``/clock`` and stamp with it.
    """

    def __init__(
        self,
        domain_id: int,
        *,
        camera: bool = True,
        commands: bool = True,
        leader: bool = False,
        simulated_time: bool = False,
    ) -> None:
        self.published: dict[str, list[bytes]] = defaultdict(list)  # by topic
        self.image_size = (23, 31)  # no multiple of four bytes
        self.clock_ns = 1_000_000_000
        self.joints_on = self.camera_on = True
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = Node("demonstrator", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        kept = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        create = self.node.create_publisher
        self._joint_states = create(JointState, "joint_states", kept)
        self._camera = create(Image, "camera/front/image_raw", qos_profile_sensor_data)
        if not camera:
            self.node.destroy_publisher(self._camera)
            self._camera = None
        self._arm = create(JointTrajectory, "arm/joint_trajectory", kept) if commands else None
        self._gripper = create(Float64MultiArray, "gripper/commands", kept) if commands else None
        self._leader = create(JointState, "leader/joint_states", kept) if leader else None
        self._clock = create(Clock, "/clock", 1) if simulated_time else None
        self._description = create(String, "robot_description", LATCHED)
        self._description.publish(String(data=DESCRIPTION))
        self._episodes = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._executor.spin, name="demonstrator spin", daemon=True),
            threading.Thread(target=self._run, name="demonstrator publish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def referee(self) -> None:
        """Offer the topic of episodes, as a simulation does."""
        self._episodes = self.node.create_publisher(Episode, "episode", 10)

    def say(self, index: int, event: int, result: int = Episode.UNKNOWN, task: str = "") -> None:
        """Publish an episode's boundary."""
        message = Episode(index=index, event=event, result=result, task=task)
        message.header.stamp = ns_to_stamp(self.now_ns())
        self._publish(self._episodes, message)

    def now_ns(self) -> int:
        return self.clock_ns if self._clock is not None else time.time_ns()

    def close(self) -> None:
        """End both threads and the context."""
        self._stop.set()
        self._threads[1].join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        self._threads[0].join()

    def _run(self) -> None:
        ticks = 0
        while not self._stop.wait(PERIOD_S):
            ticks += 1
            if self._clock is not None:
                self.clock_ns += round(PERIOD_S * 1e9)
                self._clock.publish(Clock(clock=ns_to_stamp(self.clock_ns)))
            if self.joints_on:
                self._publish_joints(ticks)
            if self._arm is not None:
                point = JointTrajectoryPoint(positions=[0.01 * ticks, 0.0])
                self._publish(self._arm, JointTrajectory(joint_names=list(JOINTS[:2]), points=[point]))
                self._publish(self._gripper, Float64MultiArray(data=[0.001 * ticks]))
            if self._camera is not None and self.camera_on and ticks % CAMERA_EVERY == 0:
                self._publish_image(ticks)

    def _publish_joints(self, ticks: int) -> None:
        message = JointState(name=list(JOINTS), position=[0.01 * ticks] * len(JOINTS))
        message.header.stamp = ns_to_stamp(self.now_ns())
        self._publish(self._joint_states, message)
        if self._leader is not None:
            self._publish(self._leader, message)

    def _publish_image(self, ticks: int) -> None:
        height, width = self.image_size
        image = Image(height=height, width=width, step=3 * width, encoding="rgb8")
        image.header.stamp, image.header.frame_id = ns_to_stamp(self.now_ns()), "front"
        image.data = bytes([ticks % 251]) * (3 * height * width)
        self._publish(self._camera, image)

    def _publish(self, publisher, message) -> None:
        data = serialize_message(message)
        self.published[publisher.topic_name].append(data)
        publisher.publish(data)
