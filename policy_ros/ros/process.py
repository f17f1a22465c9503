# SPDX-License-Identifier: Apache-2.0
"""The process around a node: signals, the start of ROS, the very end.

rclpy's own signal handling invalidates the context before anything can react: publishing raises and no transition runs.
Here a signal only sets an event; the node comes to rest, and only after that the context ends.
"""

from __future__ import annotations

import _thread
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

# SIGHUP: the terminal or the SSH connection was closed.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARENT_VARIABLE = "POLICY_ROS_PARENT"  # process id of a supervisor to end with
_PR_SET_PDEATHSIG = 1  # of prctl(2), Linux


def run_process(name: str, argv: Sequence[str] | None, body: Callable[[threading.Event], int]) -> int:
    """Start ROS, run ``body`` with the event that an end signal sets, end ROS.

    Args:
        name: of the program, for messages.
        argv: arguments; None: those of the process.
        body: returns the exit status.
    """
    import rclpy  # here, so that the commands that need no ROS run without it
    from rclpy.signals import SignalHandlerOptions

    faulthandler.enable()
    stop = threading.Event()
    stop_on_signals(stop)
    _end_with_parent()
    try:
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # a parameter file that rcl cannot parse, for one
        print(f"{name}: ROS did not start: {error}", file=sys.stderr)
        return 1
    try:
        exit_status = body(stop)
    finally:
        # What is garbage in cycles still holds ROS entities, and with them the participant and its shared memory.
        gc.collect()
        rclpy.try_shutdown()
        # Tells the other participants now; a process that is left with a hanging thread would not.
        rclpy.get_default_context().destroy()
    return leave(exit_status)  # does not return


def stop_on_signals(stop: threading.Event) -> None:
    """Set ``stop`` on every end signal.

    The handler itself must not do it: it interrupts the main thread anywhere, also within ``stop.wait()``, which holds
    the event's lock now and then, and ``set()`` would wait for that lock for ever.
    """
    for number in END_SIGNALS:
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))


def _end_with_parent() -> None:
    """Be told to end when the process that started this one ends, however it does: an arm must not move unattended."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it ended before this process asked to be told
        os.kill(os.getpid(), signal.SIGTERM)


def leave(exit_status: int) -> NoReturn:
    """End the process now, after everything was ended in order, without tearing the interpreter down.

    With torch loaded that takes most of a second, and more on a busy machine; and where a thread hangs in native code
    (an inference, a blocked publisher), the C++ runtime would abort, and an orderly end would look like a crash.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_status)
