# SPDX-License-Identifier: Apache-2.0
"""Time on the robot: ROS time without its steps for ages, a clock that follows ``/clock`` for pacing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

STEP_THRESHOLD_NS = 50_000_000
ANCHOR_NS = 10_000_000_000
_READ_NS = 5_000_000  # both clocks are read within this, or they say nothing about one another
_POLL_S = 0.001


class LocalTime(Protocol):
    """Time that ages are measured in, and its relation to the stamps of messages."""

    def now_ns(self) -> int:
        """Local time now."""

    def to_local(self, stamp_ns: int) -> int:
        """A ROS stamp, as it came with a message, in local time."""

    def to_ros(self, local_ns: int) -> int:
        """Local time as a ROS stamp for a message."""


class StepFreeTime:
    """ROS time that does not jump when somebody sets the wall clock, and does not stop when ROS time does.

    Ages would be wrong for a moment after a step: a camera would look stale or its images from the future. A drift of
    ROS time from the monotonic clock of more than 50 ms within 10 s is a step, and is taken out of all stamps from then
    on. Slower changes (NTP slewing) pass through. Until the first step, local time is ROS time.

    Args:
        ros_now_ns: current ROS time.
        on_step: called with the size of a step [s].
        monotonic_ns: injected in tests.
    """

    def __init__(
        self,
        ros_now_ns: Callable[[], int],
        *,
        on_step: Callable[[float], None],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._ros_now_ns = ros_now_ns
        self._monotonic_ns = monotonic_ns
        self._on_step = on_step
        self._lock = threading.Lock()
        self._stepped_ns = 0
        together = False
        while not together:
            self._anchor_ns, ros_ns, together = self._read()
        self._offset_ns = ros_ns - self._anchor_ns  # of ROS time, at the anchor

    def now_ns(self) -> int:
        """Local time: ROS time less all steps so far."""
        with self._lock:
            monotonic_ns, ros_ns, together = self._read()
            drift_ns = ros_ns - monotonic_ns - self._offset_ns
            stepped = together and abs(drift_ns) > STEP_THRESHOLD_NS
            if stepped:
                self._stepped_ns += drift_ns
            if stepped or (together and monotonic_ns - self._anchor_ns > ANCHOR_NS):
                self._anchor_ns, self._offset_ns = monotonic_ns, ros_ns - monotonic_ns
            local_ns = ros_ns - self._stepped_ns
        if stepped:
            self._on_step(drift_ns / 1e9)
        return local_ns

    def _read(self) -> tuple[int, int, bool]:
        """Monotonic and ROS time [ns], and whether no pause of this thread, on a busy machine, lay between them."""
        monotonic_ns = self._monotonic_ns()
        ros_ns = self._ros_now_ns()
        return monotonic_ns, ros_ns, self._monotonic_ns() - monotonic_ns <= _READ_NS

    def to_local(self, stamp_ns: int) -> int:
        """A ROS stamp, as it came with a message, in local time."""
        return stamp_ns - self._stepped_ns

    def to_ros(self, local_ns: int) -> int:
        """Local time as a ROS stamp for a message."""
        return local_ns + self._stepped_ns


class SimulatedTime:
    """ROS time under ``use_sim_time``, with the interface of :class:`StepFreeTime`."""

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()

    def now_ns(self) -> int:
        """Time of the last ``/clock`` message, 0 before the first."""
        return self._clock.now().nanoseconds

    def to_local(self, stamp_ns: int) -> int:
        return stamp_ns

    def to_ros(self, local_ns: int) -> int:
        return local_ns


class SimulatedPace:
    """Paces with ``/clock``, as ``execution.clock.Clock`` describes.

    ``/clock`` comes through the node's callbacks. While these stall it stands still, whatever the simulation does, and
    somebody has to tick so that the robot holds: until they run again every wait lasts one period of the steady clock.

    Args:
        time: simulated time.
        period_s: control period [s].
        stalled: whether the node's callbacks do not run.
        monotonic_s: injected in tests.
    """

    def __init__(
        self,
        time: LocalTime,
        *,
        period_s: float,
        stalled: Callable[[], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._time = time
        self._period_s = period_s
        self._stalled = stalled
        self._monotonic_s = monotonic_s
        self._seen_ns = 0  # notices steps back across calls

    def now_ns(self) -> int:
        """Simulated time."""
        return self._time.now_ns()

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Wait for the deadline; polls, so a clock that stands still blocks nothing. False once ``stop`` is set."""
        until_s = self._monotonic_s() + self._period_s
        while (now_ns := self.now_ns()) < deadline_ns:
            stepped_back = now_ns < self._seen_ns
            self._seen_ns = now_ns
            if stepped_back or (self._monotonic_s() >= until_s and self._stalled()):
                return True
            if stop.wait(_POLL_S):
                return False
        self._seen_ns = now_ns
        return not stop.is_set()


def watch_jumps(node: Node, on_jump: Callable[[float], None], *, forward_s: float = 1.0):
    """Call ``on_jump`` with the size [s] when simulated time goes backwards (a bag loops) or leaps forward.

    Returns a handle; the watch ends with ``handle.unregister()``.
    """
    threshold = JumpThreshold(
        min_forward=Duration(seconds=forward_s), min_backward=Duration(nanoseconds=-1), on_clock_change=False
    )
    return node.get_clock().create_jump_callback(
        threshold, post_callback=lambda jump: on_jump(jump.delta.nanoseconds / 1e9)
    )
