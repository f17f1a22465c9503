# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that hand on serialised messages as they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import Qos

from policy_ros.ros.recorder.definitions import message_class
from policy_ros.ros.recorder.inspection import IMAGE_TYPES, Inspection
from policy_ros.ros.recorder.measurements import TopicMeasurements
from policy_ros.ros.recorder.offers import matching, stored
from policy_ros.ros.recorder.plan import Need, TopicPlan
from policy_ros.ros.topics import never_came

# While Python is busy elsewhere, a second or two wait in the middleware.
_IMAGE_DEPTH, _DEPTH = 64, 1000


class RecordedTopic:
    """One topic of the plan.

    Args:
        plan: what is expected.
        name: full.
        warn: called with one line when its messages are not as they should be.
    """

    def __init__(self, plan: TopicPlan, name: str, warn: Callable[[str], None]) -> None:
        self.plan = plan
        self.name = name
        self.type = plan.type
        self.measurements = TopicMeasurements()
        self.inspection = Inspection(name, plan.joints, warn)
        self.offered: list[Qos] = []  # by its publishers
        self.last: tuple[int, bytes] | None = None  # log time and message, not recorded yet, where it is kept
        self.newest_ns = 0  # log time of its newest message
        self.number = -1  # in the bag
        self._subscription: Subscription | None = None
        self._profile: QoSProfile | None = None

    @property
    def subscribed(self) -> bool:
        return self._subscription is not None


class Subscriptions:
    """Subscribes to every topic of the plan once somebody publishes it, with QoS that suits all publishers.

    Args:
        node: subscribes.
        plans: a topic that occurs twice counts once.
        on_message: called with the topic, the serialised message and the system time at which the middleware received
            it [ns], from the executor's thread.
        warn: called with one line when something is amiss.
    """

    def __init__(
        self,
        node: Node,
        plans: Sequence[TopicPlan],
        on_message: Callable[[RecordedTopic, bytes, int], None],
        warn: Callable[[str], None],
    ) -> None:
        self.topics: dict[str, RecordedTopic] = {}
        self._node = node
        self._on_message = on_message
        self._warn = warn
        self._group = MutuallyExclusiveCallbackGroup()
        for plan in plans:
            name = node.resolve_topic_name(plan.topic)
            self.topics.setdefault(name, RecordedTopic(plan, name, warn))

    def update(self) -> None:
        """Look at the publishers: subscribe, or subscribe again where a new one offers less than was asked for.

        From the executor's thread only.
        """
        for topic in self.topics.values():
            publishers = [info for info in self._publishers(topic) if not self._of_other_type(topic, info)]
            if not publishers:
                continue
            topic.offered = [stored(info.qos_profile) for info in publishers]
            topic.type = topic.type or publishers[0].topic_type
            profile = matching(publishers, depth=_IMAGE_DEPTH if topic.type in IMAGE_TYPES else _DEPTH)
            if topic._profile is None or _weaker(profile, topic._profile):
                self._subscribe(topic, profile)

    def missing(self) -> list[str]:
        """What has to be there before the start and is not, a line for each."""
        lines: list[str] = []
        for topic in self.topics.values():
            lines += self._missing(topic)
        return lines

    def warnings(self) -> list[str]:
        """What will be recorded but will not reach the policy node as it is configured."""
        return [
            f"'{topic.name}' is published best effort, but {topic.plan.label} is configured as reliable: "
            "the policy node will receive nothing from it; set its `reliability` parameter to best_effort"
            for topic in self.topics.values()
            if topic.plan.reliability == "reliable"
            and any(offer.reliability.value == ReliabilityPolicy.BEST_EFFORT.value for offer in topic.offered)
        ]

    def destroy(self) -> None:
        """Remove all subscriptions; from the executor's thread, or when it does not spin."""
        for topic in self.topics.values():
            if topic._subscription is not None:
                self._node.destroy_subscription(topic._subscription)
                topic._subscription = None

    def _publishers(self, topic: RecordedTopic) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(topic.name)

    @staticmethod
    def _of_other_type(topic: RecordedTopic, info: TopicEndpointInfo) -> bool:
        return bool(topic.type) and info.topic_type != topic.type

    def _missing(self, topic: RecordedTopic) -> list[str]:
        need = topic.plan.need
        others = {info.topic_type for info in self._publishers(topic) if self._of_other_type(topic, info)}
        if others:
            hint = f"expected {topic.type}, somebody publishes {', '.join(sorted(others))}; correct the configuration"
        else:
            hint = ""
        if need is Need.NOTHING:
            return [f"'{topic.name}': {hint}"] if others else []
        if not topic.subscribed:
            if need is Need.MESSAGES or others:
                return [never_came(self._node, topic.plan.label, topic.name, hint)]
            return [f"{topic.plan.label}: expected a publisher on '{topic.name}', got none; start what publishes there"]
        if need is Need.MESSAGES and not topic.measurements.received:
            return [never_came(self._node, topic.plan.label, topic.name, hint)]
        return [
            never_came(self._node, f"joint '{joint}'", topic.name, hint)
            for joint in sorted(topic.inspection.joints_missing)
        ]

    def _subscribe(self, topic: RecordedTopic, profile: QoSProfile) -> None:
        if topic._subscription is not None:
            self._node.destroy_subscription(topic._subscription)
            self._warn(
                f"'{topic.name}': a new publisher offers less than the others; subscribed again to receive it too"
            )

        def on_lost(event: object) -> None:
            topic.measurements.lost += event.total_count_change  # type: ignore[attr-defined]

        def create(events: SubscriptionEventCallbacks) -> Subscription:
            return self._node.create_subscription(
                message_class(topic.type),
                topic.name,
                lambda data, info: self._on_message(topic, data, info["received_timestamp"]),
                profile,
                callback_group=self._group,
                event_callbacks=events,
                raw=True,
            )

        try:
            topic._subscription = create(SubscriptionEventCallbacks(message_lost=on_lost, use_default_callbacks=False))
        except UnsupportedEventTypeError:  # by this middleware
            topic._subscription = create(SubscriptionEventCallbacks(use_default_callbacks=False))
        topic._profile = profile


def _weaker(profile: QoSProfile, than: QoSProfile) -> bool:
    return (profile.reliability != than.reliability and profile.reliability == ReliabilityPolicy.BEST_EFFORT) or (
        profile.durability != than.durability and profile.durability == DurabilityPolicy.VOLATILE
    )
