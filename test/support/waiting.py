# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.01
BUSY_FACTOR = 3.0  # timeouts are for a machine that has nothing else to do


def wait_for(condition: Callable[[], object], timeout_s: float, what: str | Callable[[], str]) -> None:
    """Return as soon as ``condition()`` is true; fail with ``what`` after the timeout, a busy machine's."""
    timeout_s *= BUSY_FACTOR
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(POLL_S)


def stays(condition: Callable[[], object], duration_s: float, what: str | Callable[[], str]) -> None:
    """Assert that ``condition()`` remains true for a while: the absence of an event has no event to wait for."""
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline:
        assert condition(), what if isinstance(what, str) else what()
        time.sleep(POLL_S)
