# SPDX-License-Identifier: Apache-2.0
"""Watches a running policy node from outside, for the command line and the demonstration."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from policy_ros.msg import PolicyStatus
from policy_ros.ros.qos import STATUS

_CAMERA = "camera/"
_KEPT_STATUSES = 60  # several seconds: enough to reach back to the robot's newest count

STATES = {
    PolicyStatus.IDLE: "idle",
    PolicyStatus.WAITING: "waiting",
    PolicyStatus.RUNNING: "running",
    PolicyStatus.STARVED: "starved",
    PolicyStatus.HOLDING: "HOLDING",
}


@dataclass(frozen=True)
class FrameCounts:
    """Camera name to frames, at one moment: as the simulated robot counts them, and as the policy node does."""

    published: dict[str, int]
    received: dict[str, float]


class Monitor:
    """Keeps the newest status and diagnostics; runs its own context and thread.

    Args:
        namespace: ROS namespace of the policy node.
    """

    def __init__(self, *, namespace: str = "") -> None:
        self.status: PolicyStatus | None = None
        self.first_running_s: float | None = None  # monotonic
        self._published: tuple[float, dict[str, int]] | None = None  # when the robot last counted, and what
        self._received: deque[tuple[float, dict[str, int]]] = deque(maxlen=_KEPT_STATUSES)
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("policy_monitor", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        prefix = f"/{namespace.strip('/')}" if namespace else ""
        self._node.create_subscription(PolicyStatus, f"{prefix}/policy/status", self._on_status, STATUS)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, STATUS)
        self._thread = threading.Thread(target=self._spin, name="monitor", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Wait for new status and counts: another run begins."""
        self.status = self.first_running_s = self._published = None
        self._received.clear()

    def summary(self) -> dict[str, Any]:
        """The newest status as plain numbers; empty before the first."""
        return {} if self.status is None else summarise(self.status)

    def frame_counts(self) -> FrameCounts | None:
        """Frames published and received up to the same moment, as near as two messages tell; None before the first.

        The robot counts once per second; what the node had received then is interpolated between its statuses.
        """
        published, received = self._published, list(self._received)
        if published is None or not received:
            return None
        when_s, counts = published
        times = [time_s for time_s, _ in received]
        return FrameCounts(
            published=counts,
            received={
                name: float(np.interp(when_s, times, [seen.get(name, 0) for _, seen in received])) for name in counts
            },
        )

    def close(self) -> None:
        """End thread and context."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # closed while waiting
            self._executor.spin()

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message
        counts = dict(zip(message.streams, message.stream_received, strict=True))
        cameras = {name.removeprefix(_CAMERA): int(n) for name, n in counts.items() if name.startswith(_CAMERA)}
        self._received.append((_stamp_s(message), cameras))
        if self.first_running_s is None and message.state == PolicyStatus.RUNNING:
            self.first_running_s = time.monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            counts = {
                name.split(".")[1]: int(value)
                for name, value in ((pair.key, pair.value) for pair in entry.values)
                if name.startswith("camera.") and name.endswith(".published")
            }
            if counts:
                self._published = (_stamp_s(message), counts)


def _stamp_s(message: PolicyStatus | DiagnosticArray) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def status_line(status: PolicyStatus) -> str:
    """One line for a person watching."""
    cause = f" ({status.hold_cause})" if status.hold_cause else ""
    acting = f"{status.active_mode} instead of {status.mode}" if status.active_mode != status.mode else status.mode
    frozen = [stream for stream, is_frozen in zip(status.streams, status.stream_frozen, strict=True) if is_frozen]
    swap = f"  swap {status.swap_phase}: {status.swap_detail}" if status.swap_phase not in ("", "idle") else ""
    return (
        f"{STATES[status.state]}{cause}  {acting}  chunks {status.chunks}  delay {status.delay} steps  "
        f"inference {status.inference_latency * 1e3:.0f} ms  observation age {status.observation_age * 1e3:.0f} ms  "
        f"command period p99 {status.command_period_p99 * 1e3:.1f} ms  holds {status.holds}"
        + (f"  FROZEN {', '.join(frozen)}" if frozen else "")
        + swap
    )


def summarise(status: PolicyStatus) -> dict[str, Any]:
    """Numbers of a status, times in milliseconds."""
    return {
        "policy": status.policy,
        "mode": status.mode,
        "active_mode": status.active_mode,
        "degradation": status.degradation,
        "state": STATES[status.state],
        "chunks": status.chunks,
        "holds": status.holds,
        "holds_after_first_chunk": status.holds_after_first_chunk,
        "commands": status.commands,
        "deadlines_missed": status.deadlines_missed,
        "inference_ms": {"p50": status.inference_latency_p50 * 1e3, "p99": status.inference_latency_p99 * 1e3},
        "observation_age_ms": {"p50": status.observation_age_p50 * 1e3, "p99": status.observation_age_p99 * 1e3},
        "command_period_ms": {"p50": status.command_period_p50 * 1e3, "p99": status.command_period_p99 * 1e3},
        "received": dict(zip(status.streams, (int(n) for n in status.stream_received), strict=True)),
    }
