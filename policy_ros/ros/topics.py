# SPDX-License-Identifier: Apache-2.0
"""Topic names of parameters, checked before anything is created under them."""

from __future__ import annotations

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import camera_topic


def check_topics(node: Node, parameters: NodeParameters) -> None:
    """Refuse names that ROS does not allow.

    Raises:
        ConfigurationError: names the parameter.
    """
    topics = {
        "joints.topic": parameters.joints.topic,
        "observation.environment_topic": parameters.observation.environment_topic,
        "gate.robot_description_topic": parameters.gate.robot_description_topic,
    }
    topics.update({f"cameras.{name}.topic": camera_topic(name, camera) for name, camera in parameters.cameras.items()})
    topics.update({f"outputs.{name}.topic": output.topic for name, output in parameters.outputs.items()})
    for parameter, topic in topics.items():
        try:
            validate_full_topic_name(expand_topic_name(topic, node.get_name(), node.get_namespace()))
        except (InvalidTopicNameException, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(f"{parameter}: expected a topic name, got '{topic}': {reason}") from None


def never_came(node: Node, subject: str, topic: str, hint: str = "") -> str:
    """One line about something that was expected on a topic: where, how many publishers, and a hint if there is one."""
    publishers = node.count_publishers(topic)
    seen = f"{publishers} publisher{'s' if publishers != 1 else ''}" if publishers else "no publisher"
    return f"{subject} never came on '{topic}' ({seen})" + (f": {hint}" if hint else "")
