# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic, and what to say when two ends do not match."""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)

COMMANDS = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
STATUS = QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)

LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    reliability=ReliabilityPolicy.RELIABLE,
)


def sensor(reliability: str, *, depth: int = 1) -> QoSProfile:
    """Newest sample wins. ``best_effort`` matches any publisher; ``reliable`` only reliable ones."""
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        durability=DurabilityPolicy.VOLATILE,
        reliability=ReliabilityPolicy.RELIABLE if reliability == "reliable" else ReliabilityPolicy.BEST_EFFORT,
    )


def mismatch(topic: str, policy_kind: QoSPolicyKind) -> str:
    """One line for a publisher whose QoS does not match the subscription to ``topic``."""
    name = qos_policy_name_from_kind(policy_kind).lower()
    hint = " Set its `reliability` parameter to best_effort." if name == "reliability" else ""
    return f"a publisher on '{topic}' offers an incompatible {name}: nothing is received from it.{hint}"
