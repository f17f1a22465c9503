# SPDX-License-Identifier: Apache-2.0
"""A delay that is added to every inference, to see what an execution does on a slower computer."""

from __future__ import annotations

import threading


class AddedDelay:
    """Keeps the inference thread for a while after the policy has answered.

    It is part of the inference, like the time that the policy takes: the rows consumed meanwhile are the chunk's delay,
    the latency contains it, and an inference that is too long because of it counts as hung. Real time.

    Attributes:
        seconds: of the inferences to come [s].
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._ended = threading.Event()

    def pass_by(self) -> None:
        """Return after the delay, or as soon as :meth:`end` was called."""
        if self.seconds > 0.0:
            self._ended.wait(self.seconds)

    def begin(self) -> None:
        """A new run: delays last as long as they should."""
        self._ended.clear()

    def end(self) -> None:
        """The run is over; no delay is waited for any more."""
        self._ended.set()
