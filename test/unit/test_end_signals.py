# SPDX-License-Identifier: Apache-2.0
"""A signal may come at any moment, also while the main thread holds the lock of the event that the signal is to set."""

from __future__ import annotations

import subprocess
import sys

BODY = """
import signal, threading
from policy_ros.ros.process import END_SIGNALS, stop_on_signals
for number in END_SIGNALS:
    stop = threading.Event()
    stop_on_signals(stop)
    with stop._cond:  # as within stop.wait()
        signal.raise_signal(number)
    assert stop.wait(10.0), number
"""


def test_a_signal_within_a_wait_for_it_is_not_a_deadlock():
    subprocess.run([sys.executable, "-c", BODY], check=True, timeout=60.0)
