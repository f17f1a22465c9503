# SPDX-License-Identifier: Apache-2.0
"""What publishers offer: the QoS to subscribe with so that nothing is missed, and as a bag stores it."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

_NS = 1_000_000_000


def matching(publishers: Sequence[TopicEndpointInfo], *, depth: int) -> QoSProfile:
    """The strongest request that all publishers can serve."""
    reliable = all(each.qos_profile.reliability == ReliabilityPolicy.RELIABLE for each in publishers)
    latched = all(each.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for each in publishers)
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def stored(profile: QoSProfile) -> Qos:
    """An offer as rosbag2 keeps it, to publish a replay with; the numbers of both enumerations are those of rmw."""
    return Qos(
        QosHistory(profile.history.value),
        profile.depth,
        QosReliability(profile.reliability.value),
        QosDurability(profile.durability.value),
        QosTime(*divmod(profile.deadline.nanoseconds, _NS)),
        QosTime(*divmod(profile.lifespan.nanoseconds, _NS)),
        QosLiveliness(profile.liveliness.value),
        QosTime(*divmod(profile.liveliness_lease_duration.nanoseconds, _NS)),
        profile.avoid_ros_namespace_conventions,
    )
