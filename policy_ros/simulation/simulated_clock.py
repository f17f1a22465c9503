# SPDX-License-Identifier: Apache-2.0
"""Time that a simulation makes itself."""

from __future__ import annotations

import threading

from policy_ros.simulation.schedule import Clock

_NS = 1_000_000_000
_CATCH_UP_NS = _NS // 10


class SimulatedClock:
    """Stands still while the simulation works, and else runs at most ``factor`` times as fast as real time.

    Nothing that comes due is ever late in it: where the machine is too slow, time passes more slowly. Up to 0.1 s of
    real time is made up for later, so that the mean rate is kept in spite of small delays.

    Args:
        factor: simulated seconds in a real one, at most.
        real: steady.
    """

    def __init__(self, factor: float, real: Clock) -> None:
        self._factor = factor
        self._real = real
        self._now_ns = self._anchor_ns = real.now_ns()
        self._real_anchor_ns = self._anchor_ns

    def now_ns(self) -> int:
        """The newest deadline that was reached [ns]."""
        return self._now_ns

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        """Let time pass until then; False as soon as ``stop`` is set."""
        due_ns = self._real_anchor_ns + round((deadline_ns - self._anchor_ns) / self._factor)
        behind_ns = self._real.now_ns() - due_ns
        if behind_ns > _CATCH_UP_NS:
            self._anchor_ns, self._real_anchor_ns = deadline_ns, due_ns + behind_ns
        if not self._real.wait_until(due_ns, stop):
            return False
        self._now_ns = max(self._now_ns, deadline_ns)
        return True
