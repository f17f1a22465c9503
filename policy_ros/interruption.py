# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a wish to stop, which is granted where work can be left."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Catches the first signal between :meth:`begin` and :meth:`end`; the second one acts as ever.

    Attributes:
        signal: the one that came, None if none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def begin(self) -> None:
        """Catch from now on; outside of the main thread, where that cannot be done, nothing is caught."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def end(self) -> None:
        """Give the signals back to who had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
