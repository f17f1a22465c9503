# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are played: those that the policy node subscribes to, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from policy_ros.bags import Bag, BagError
from policy_ros.bags.inputs import COMPRESSED_IMAGE, FLOAT64_MULTI_ARRAY, IMAGE, JOINT_STATE
from policy_ros.errors import ConfigurationError, closest
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import absolute_topic

TEXT = "std_msgs/msg/String"
# Commands come as JointTrajectory or as Float64MultiArray; the latter are told apart by their topics.
_TYPES = (JOINT_STATE, IMAGE, COMPRESSED_IMAGE, FLOAT64_MULTI_ARRAY, TEXT)


@dataclass(frozen=True)
class PlayedTopic:
    """A topic of the bag, and what it is published as.

    Attributes:
        recorded: its name in the bag.
        name: its name on the graph.
        type: as in ``sensor_msgs/msg/Image``.
    """

    recorded: str
    name: str
    type: str

    @property
    def latched(self) -> bool:
        """Whether it says once what holds from then on (``/robot_description``)."""
        return self.type == TEXT


def topics_to_play(
    bag: Bag, subscribed: Mapping[str, Collection[str]], *, namespace: str = "/", commands: Collection[str] = ()
) -> tuple[PlayedTopic, ...]:
    """What of a bag is to be played to a node.

    A topic in the node's namespace that the bag does not have there is taken from outside the namespace, so that a
    recording made without one can be played to a node that has one.

    Args:
        bag: where from.
        subscribed: topics of the node to their types, without its own services' and ``/clock``.
        namespace: of the node.
        commands: topics that command a robot, which are never played.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
        ConfigurationError: the node subscribes to a topic of commands.
    """
    return tuple(_topic(bag, name, types, namespace, commands) for name, types in sorted(subscribed.items()))


def recorded_namespace(bag: Bag, parameters: NodeParameters, namespace: str) -> str:
    """Where the bag has the topics of a node in ``namespace``: there, or where it does not have them, outside."""
    return namespace if absolute_topic(parameters.joints.topic, namespace) in bag.topics else "/"


def command_topics(parameters: NodeParameters, namespace: str) -> tuple[str, ...]:
    """Topics on which the robot is commanded, as the parameters name them."""
    return tuple(absolute_topic(output.topic, namespace) for output in parameters.outputs.values() if output.topic)


def check_playable(topics: Iterable[PlayedTopic], commands: Collection[str]) -> None:
    """Refuse what might move a robot.

    Raises:
        ConfigurationError: a topic of commands, or of a type that no input of the policy node has.
    """
    for topic in topics:
        if topic.name in commands or topic.recorded in commands:
            raise ConfigurationError(
                f"'{topic.name}' commands a robot (outputs.*.topic) and is never played; correct the input's topic"
            )
        if topic.type not in _TYPES:
            raise ConfigurationError(
                f"'{topic.name}' is a {topic.type}: expected an input of the policy node ({', '.join(_TYPES)}), and "
                "nothing else is ever played"
            )


def _topic(bag: Bag, name: str, types: Collection[str], namespace: str, commands: Collection[str]) -> PlayedTopic:
    recorded, prefix = name, f"/{namespace.strip('/')}/"
    if name not in bag.topics and prefix != "//" and name.startswith(prefix):
        recorded = "/" + name.removeprefix(prefix)
    found = bag.topics.get(recorded)
    if found is None:
        raise BagError(
            f"{bag.path}: expected topic '{recorded}' ({', '.join(types)}), which the node subscribes to, got none; "
            + closest(recorded, [each.name for each in bag.topics.values() if each.type in types] or bag.topics)
        )
    if found.type not in types:
        raise BagError(
            f"{bag.path}: topic '{recorded}': expected {', '.join(types)} as the node, got {found.type or 'no type'}"
        )
    topic = PlayedTopic(recorded, name, found.type)
    check_playable([topic], commands)
    return topic
