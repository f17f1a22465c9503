# SPDX-License-Identifier: Apache-2.0
"""Single keys of a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from types import TracebackType


class Keys:
    """Reads keys as they are pressed, where stdin is a terminal; it is as before when the context ends.

    Args:
        stop: where there is no terminal, waiting ends early when it is set.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.available = sys.stdin is not None and sys.stdin.isatty()
        self._stop = stop
        self._before: list[object] = []

    def __enter__(self) -> Keys:
        if self.available:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)  # Ctrl-C stays a signal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.available:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def wait(self, timeout_s: float) -> str:
        """The next key, or an empty string after the timeout."""
        if not self.available:
            self._stop.wait(timeout_s)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
        if not ready:
            return ""
        pressed = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
        if not pressed:  # the terminal is gone
            self.available = False
        return pressed
