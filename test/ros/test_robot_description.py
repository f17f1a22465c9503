# SPDX-License-Identifier: Apache-2.0
"""Fault row 9 with limits from the robot's URDF, over a real transient-local topic."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from support.checkpoints import JOINTS
from support.holding import wait_until_commanding
from support.robot import FakeRobot
from support.waiting import wait_for

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)


def urdf(*names: str, upper: float = 1.0) -> str:
    joints = "".join(
        f'<joint name="{name}" type="revolute"><limit lower="-1" upper="{upper}" velocity="2" effort="1"/></joint>'
        for name in names
    )
    return f'<robot name="r">{joints}</robot>'


def publish(robot: FakeRobot, description: str) -> None:
    robot.node.create_publisher(String, "robot_description", LATCHED).publish(String(data=description))


def test_fault_09_positions_are_clamped_to_the_limits_of_the_urdf(start_node, robot: FakeRobot):
    publish(robot, urdf(*JOINTS, upper=-0.5))  # before the node is there; its policy stays around zero
    robot.script.positions = dict.fromkeys(JOINTS, -0.6)
    node = start_node(gate__use_robot_description=True)
    node.bring_up()
    wait_until_commanding(robot)
    wait_for(lambda: robot.status.gate_clamped > 10, 10.0, f"clamped rows\n{node.log}")
    assert all(position <= -0.5 + 1e-9 for command in robot.commands for position in command.positions)
    assert "gate.position_max" not in node.log, "the warning about missing limits knows the URDF"


def test_a_urdf_that_never_comes_or_lacks_a_joint_refuses_activation_and_names_it(start_node, robot: FakeRobot):
    node = start_node(gate__use_robot_description=True, observation__activation_timeout_s=1.0)
    assert node.transition("configure")
    assert not node.transition("activate")
    wait_for(lambda: "nothing came on '/robot_description'" in node.log, 5.0, "the topic's name")
    publish(robot, urdf(*JOINTS[:2]))
    wait_for(
        lambda: not node.transition("activate") and f"no joint '{JOINTS[2]}'" in node.log, 10.0, "the joint's name"
    )
    assert not robot.commands
