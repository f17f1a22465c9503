# SPDX-License-Identifier: Apache-2.0
"""The inference thread: takes turns until there is nothing to do, then waits to be notified."""

from __future__ import annotations

import threading
from collections.abc import Callable

from policy_ros.errors import PolicyRosError


class InferenceThread:
    """Calls ``turn`` whenever there may be something to infer. It is a daemon: a hung inference cannot keep a process.

    Args:
        turn: does one inference; False when there was nothing to do for now.
        on_error: receives what ``turn`` raised, on this thread. It must not raise.
        condition: the lock where the threads meet.
    """

    def __init__(
        self, turn: Callable[[], bool], on_error: Callable[[Exception], None], condition: threading.Condition
    ) -> None:
        self._turn = turn
        self._on_error = on_error
        self._condition = condition
        self._notifications = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs, be it that it hangs in a policy."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread.

        Raises:
            PolicyRosError: an earlier thread still runs.
        """
        self.require_ended()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def require_ended(self) -> None:
        """Refuse to go on while an earlier thread still runs.

        Raises:
            PolicyRosError: it does.
        """
        if self.alive:
            raise PolicyRosError(
                "the inference thread of the previous run has not ended: expected its inference to return first; "
                "wait, or restart the process"
            )

    def notify(self) -> None:
        """Something changed: take another turn."""
        with self._condition:
            self._notifications += 1
            self._condition.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end and wait at most ``timeout_s``; False if it still runs then."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.alive

    def _loop(self) -> None:
        seen = 0
        while not self._stopping:
            if not self._take_turn():
                seen = self._wait_beyond(seen)

    def _wait_beyond(self, seen: int) -> int:
        with self._condition:
            self._condition.wait_for(lambda: self._stopping or self._notifications != seen)
            return self._notifications

    def _take_turn(self) -> bool:
        try:
            return self._turn()
        except Exception as error:  # a defect must become a visible hold, not a silently dead thread
            self._on_error(error)
            return False
