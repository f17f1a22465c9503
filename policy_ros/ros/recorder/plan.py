# SPDX-License-Identifier: Apache-2.0
"""Which topics a configuration names, and what is expected of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from policy_ros.bags.commands import COMMAND_TYPES
from policy_ros.bags.inputs import COMPRESSED_IMAGE, FLOAT64_MULTI_ARRAY, IMAGE, JOINT_STATE
from policy_ros.errors import ConfigurationError
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import camera_topic

_TEXT = "std_msgs/msg/String"


class Need(Enum):
    """What must be there before the recording starts."""

    MESSAGES = "messages"
    PUBLISHER = "publisher"
    NOTHING = "nothing"


@dataclass(frozen=True)
class TopicPlan:
    """One topic to record.

    Attributes:
        label: stream or purpose, for people.
        topic: as configured, relative or absolute.
        type: message type, e.g. ``sensor_msgs/msg/Image``; empty: whatever is published.
        need: what must be there at the start; a topic that needs nothing is recorded if somebody publishes it then.
        keep_last: the newest message before an episode belongs to it: it still holds.
        reliability: what the policy node will ask for; empty where it does not subscribe.
        joints: names that must be seen in its messages before the start.
    """

    label: str
    topic: str
    type: str
    need: Need
    keep_last: bool = False
    reliability: str = ""
    joints: tuple[str, ...] = ()


def plan_topics(
    parameters: NodeParameters, *, action_topic: str = "", extra_topics: Sequence[str] = ()
) -> tuple[TopicPlan, ...]:
    """All topics, inputs first.

    Args:
        parameters: of the policy node.
        action_topic: JointState topic of a leader arm, in place of the outputs' command topics; empty: these.
        extra_topics: recorded too, of any type.

    Raises:
        ConfigurationError: no joints, or outputs that cannot be commanded.
    """
    if not parameters.joints.names:
        raise ConfigurationError("joints.names: expected the joints in the order of the policy's action, got none")
    description = parameters.gate.robot_description_topic
    return (
        *_inputs(parameters),
        *(_leader(parameters, action_topic) if action_topic else _commands(parameters)),
        TopicPlan("robot_description", description, _TEXT, Need.NOTHING, keep_last=True),
        *(TopicPlan(f"extra {topic}", topic, "", Need.PUBLISHER) for topic in extra_topics),
    )


def _inputs(parameters: NodeParameters) -> list[TopicPlan]:
    joints = parameters.joints
    seen = tuple(dict.fromkeys((*joints.names, *joints.state_names)))
    plans = [
        TopicPlan("joint_states", joints.topic, JOINT_STATE, Need.MESSAGES, reliability=joints.reliability, joints=seen)
    ]
    for name, camera in parameters.cameras.items():
        message_type = COMPRESSED_IMAGE if camera.compressed else IMAGE
        topic = camera_topic(name, camera)
        plans.append(TopicPlan(f"camera/{name}", topic, message_type, Need.MESSAGES, reliability=camera.reliability))
    environment = parameters.observation.environment_topic
    plans.append(TopicPlan("environment_state", environment, FLOAT64_MULTI_ARRAY, Need.NOTHING))
    return plans


def _commands(parameters: NodeParameters) -> list[TopicPlan]:
    build.check_outputs(parameters)
    return [
        # Nobody may be commanding yet, and a gripper is often commanded only when it is to move.
        TopicPlan(f"output {name}", output.topic, COMMAND_TYPES[output.type], Need.PUBLISHER, keep_last=True)
        for name, output in parameters.outputs.items()
    ]


def _leader(parameters: NodeParameters, topic: str) -> list[TopicPlan]:
    return [TopicPlan("action", topic, JOINT_STATE, Need.MESSAGES, keep_last=True, joints=parameters.joints.names)]
