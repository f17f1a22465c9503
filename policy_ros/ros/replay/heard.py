# SPDX-License-Identifier: Apache-2.0
"""What the policy node publishes about itself, kept as plain values until it is scored."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile

from policy_ros.msg import ActionChunk, PolicyStatus
from policy_ros.ros.convert import stamp_to_ns
from policy_ros.ros.replay.link import Link
from policy_ros.ros.replay.values import COUNTERS, HeardChunk, HeardStatus

# Nothing may be lost while Python is busy elsewhere, e.g. with the bag.
_QOS = QoSProfile(depth=5000)


class Heard:
    """Listens to ``~/action_chunk`` and ``~/status`` of a node.

    Args:
        link: subscribes.
        node_name: full name of the policy node.

    Attributes:
        lost: messages that the middleware could not keep until they were read.
    """

    def __init__(self, link: Link, node_name: str) -> None:
        self.lost = 0
        self._lock = threading.Lock()
        self._chunks: list[HeardChunk] = []
        self._statuses: list[HeardStatus] = []
        self._newest: HeardStatus | None = None
        self._taken: HeardStatus | None = None
        events = SubscriptionEventCallbacks(message_lost=self._on_lost)
        self._subscriptions = [
            link.node.create_subscription(type_, f"{node_name}/{topic}", callback, _QOS, event_callbacks=events)
            for type_, topic, callback in (
                (ActionChunk, "action_chunk", self._on_chunk),
                (PolicyStatus, "status", self._on_status),
            )
        ]

    @property
    def connected(self) -> bool:
        """Whether the node's publishers of both are known."""
        return all(subscription.get_publisher_count() > 0 for subscription in self._subscriptions)

    def listeners(self, link: Link) -> int:
        """How many listen to the node's chunks, this one included."""
        return link.node.count_subscribers(self._subscriptions[0].topic_name)

    @property
    def newest(self) -> HeardStatus | None:
        """The newest status."""
        return self._newest

    def now_ns(self) -> int | None:
        """The newest time that the node has told of; None before the first."""
        newest = self._newest
        return None if newest is None else newest.stamp_ns

    def problems(self) -> list[str]:
        """What was not heard, in one line."""
        return [f"{self.lost} messages of the node were lost on the way"] if self.lost else []

    def take(self, until_ns: int | None = None) -> tuple[list[HeardChunk], list[HeardStatus]]:
        """What was heard up to a moment of the node's clock, both in the order of time; it is forgotten here.

        The newest status of the time before comes first: counters go on from there.
        """
        with self._lock:
            chunks, statuses = self._chunks, self._statuses
            self._chunks, self._statuses = [], []
            if until_ns is not None:
                self._chunks = [chunk for chunk in chunks if chunk.took_over_ns > until_ns]
                self._statuses = [status for status in statuses if status.stamp_ns > until_ns]
                chunks = [chunk for chunk in chunks if chunk.took_over_ns <= until_ns]
                statuses = [status for status in statuses if status.stamp_ns <= until_ns]
        statuses = sorted(statuses, key=lambda each: each.stamp_ns)
        before, self._taken = self._taken, statuses[-1] if statuses else self._taken
        return (
            sorted(chunks, key=lambda each: each.took_over_ns),
            [*([before] if before is not None else []), *statuses],
        )

    def _on_chunk(self, message: ActionChunk) -> None:
        chunk = heard_chunk(message)
        with self._lock:
            self._chunks.append(chunk)

    def _on_lost(self, event: Any) -> None:
        self.lost += event.total_count_change

    def _on_status(self, message: PolicyStatus) -> None:
        status = heard_status(message, time.monotonic())
        with self._lock:
            self._statuses.append(status)
            self._newest = status


def heard_chunk(message: ActionChunk) -> HeardChunk:
    """Its values."""
    stamps = [stamp_to_ns(stamp) for stamp in message.observation_stamps]
    return HeardChunk(
        epoch=message.epoch,
        sequence=message.sequence,
        took_over_ns=stamp_to_ns(message.header.stamp) + round(message.delay * message.dt * 1e9),
        delay_steps=message.delay,
        execution_horizon=message.execution_horizon,
        dt_s=message.dt,
        joint_names=tuple(message.joint_names),
        actions=np.array(message.actions, dtype=np.float32).reshape(message.horizon, len(message.joint_names)),
        observation_stamps_ns=dict(zip(message.observation_streams, stamps, strict=True)),
    )


def heard_status(message: PolicyStatus, heard_s: float) -> HeardStatus:
    """Its values; ``heard_s``: monotonic."""
    return HeardStatus(
        stamp_ns=stamp_to_ns(message.header.stamp),
        heard_s=heard_s,
        state=message.state,
        mode=message.mode,
        active_mode=message.active_mode,
        degradation=message.degradation,
        hold_cause=message.hold_cause,
        epoch=message.epoch,
        step=message.step,
        inference_latency_s=message.inference_latency,
        observation_age_s=message.observation_age,
        counters={name: int(getattr(message, name)) for name in COUNTERS},
    )
