# SPDX-License-Identifier: Apache-2.0
"""Where a recording has to be cut, because time jumped."""

from __future__ import annotations

from policy_ros.bags import Bag, BagMessage, MalformedMessage
from policy_ros.bags.cdr import Cdr
from policy_ros.bags.inputs import COMPRESSED_IMAGE, IMAGE, JOINT_STATE
from policy_ros.bags.jumps import StampOrder

MAX_PAUSE_NS = 1_000_000_000  # of all topics together; streams are stale long before
_STAMPED = (JOINT_STATE, IMAGE, COMPRESSED_IMAGE)  # messages that begin with a header


class Sections:
    """Numbers the stretches between jumps: a key for :func:`itertools.groupby`.

    A jump is a header stamp that runs backwards on its topic, or a pause of all topics: the clock was set forward, or
    nothing was recorded. A log time that runs backwards ends the bag already.

    Args:
        bag: where the messages come from; jumps become problems of it.
        future_tolerance_s: stamps further ahead play no part, in observations neither [s].

    Attributes:
        jumps_back: how often stamps ran backwards so far.
    """

    def __init__(self, bag: Bag, future_tolerance_s: float) -> None:
        self._bag = bag
        self._stamped = frozenset(name for name, topic in bag.topics.items() if topic.type in _STAMPED)
        self._future_tolerance_ns = round(future_tolerance_s * 1e9)
        self._order = self._new_order()
        self._last_ns: int | None = None
        self.jumps_back = 0
        self._number = 0

    def __call__(self, message: BagMessage) -> int:
        """Number of the stretch that a message belongs to; asked for every message in the order of log time."""
        pause = self._pause(message)
        reason = pause or self._back(message)
        if reason is not None:
            at_s = (message.log_ns - self._bag.start_ns) * 1e-9
            kind = "pause" if pause else message.topic  # one line for all that are alike
            self._bag.note(
                f"{self._bag.path}: topic '{message.topic}': {reason} after {at_s:.3f} s; the episode is cut there, "
                "no sample reaches across it",
                "section",
                kind,
            )
            self._number += 1
            self.jumps_back += pause is None
            self._order = self._new_order()
            self._back(message)
        self._last_ns = message.log_ns
        return self._number

    def _new_order(self) -> StampOrder:
        return StampOrder(future_tolerance_ns=self._future_tolerance_ns)

    def _pause(self, message: BagMessage) -> str | None:
        pause_ns = 0 if self._last_ns is None else message.log_ns - self._last_ns
        if pause_ns <= MAX_PAUSE_NS:
            return None
        return f"expected messages all the time, got none on any topic for {pause_ns * 1e-9:.3f} s"

    def _back(self, message: BagMessage) -> str | None:
        if message.topic not in self._stamped:
            return None
        try:
            jump = self._order.saw(message.topic, message.log_ns, Cdr(message.data).stamp_ns())
        except MalformedMessage:  # whoever feeds it says so
            return None
        return None if jump is None else f"expected header stamps that increase, got a jump back by {jump.back_s:.3f} s"
