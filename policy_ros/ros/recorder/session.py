# SPDX-License-Identifier: Apache-2.0
"""One recording from start to end, as the command runs it: wait, record, tell, finish."""

from __future__ import annotations

import gc
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from policy_ros.parameters.node import NodeParameters
from policy_ros.ros.recorder.bag import RecordError, require_room
from policy_ros.ros.recorder.episodes import EpisodeError, Result
from policy_ros.ros.recorder.keys import Keys
from policy_ros.ros.recorder.options import Mode, RecordOptions
from policy_ros.ros.recorder.recorder import Recorder
from policy_ros.ros.recorder.report import live_line, summarise

NODE_NAME = "policy_recorder"
_POLL_S = 0.1
_LOOK_S = 1.0  # how long rates are measured before the start
_LINE_EVERY_S = 1.0
_JOIN_S = 2.0
_PATIENCE_S = 2.0  # before people are told what is missing
_KEYS = "space: start/stop, s: stop with success, f: stop with failure, d or backspace: discard, q: end"


class Session:
    """Runs a recorder in this process.

    Args:
        parameters: of the policy node.
        options: of the recording.
        stop: set when it shall end.
        quiet: no live line.
        on_ready: called with the recorder's node once everything that comes will be recorded.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        options: RecordOptions,
        stop: threading.Event,
        *,
        quiet: bool,
        on_ready: Callable[[Node], None] = lambda node: None,
    ) -> None:
        self._parameters = parameters
        self._options = options
        self._stop = stop
        self._quiet = quiet
        self._on_ready = on_ready
        self._line_shown = False

    def run(self) -> dict[str, Any]:
        """Record; the summary.

        Raises:
            PolicyRosError: nothing was recorded, because of what it says.
        """
        require_room(self._options.out)
        node = rclpy.create_node(NODE_NAME)
        try:
            recorder = Recorder(node, self._parameters, self._options)
            with _spinning(node, recorder), Keys(self._stop) as keys:
                self._wait_for_topics(recorder)
                # torch's objects would make a collection stop all threads, and messages be late.
                gc.collect()
                gc.freeze()
                recorder.begin()
                self._tell(f"recording into {self._options.out}{_how_to_begin(self._options.mode, node, keys)}")
                reason = "an error"
                try:
                    self._on_ready(node)
                    reason = self._watch(recorder, keys)
                finally:
                    recorder.end(reason)
                    self._end_line()
            return summarise(recorder)
        finally:
            node.destroy_node()

    def _wait_for_topics(self, recorder: Recorder) -> None:
        deadline_s = time.monotonic() + self._options.timeout_s
        told = False
        while missing := recorder.missing():
            if self._stop.wait(_POLL_S):
                raise RecordError(f"ended before the start: {'; '.join(missing)}")
            if time.monotonic() > deadline_s:
                raise RecordError(f"not started, after {self._options.timeout_s:g} s {'; '.join(missing)}")
            if not told and time.monotonic() > deadline_s - self._options.timeout_s + _PATIENCE_S:
                self._tell(f"waiting: {'; '.join(missing)}")
                told = True
        if self._stop.wait(_LOOK_S):
            raise RecordError("ended before the start")

    def _watch(self, recorder: Recorder, keys: Keys) -> str:
        """Until something ends the recording; what it was."""
        next_line_s = time.monotonic()
        while not self._stop.is_set():
            if recorder.finished:
                return recorder.finished
            if 0.0 < self._options.duration_s <= recorder.duration_s:
                return f"its duration of {self._options.duration_s:g} s"
            key = keys.wait(_POLL_S)
            if key == "q":
                return "key q"
            if key and self._options.mode is Mode.MANUAL:
                self._on_key(recorder, key)
            if time.monotonic() >= next_line_s:
                recorder.check()
                self._show_line(live_line(recorder))
                next_line_s = time.monotonic() + _LINE_EVERY_S
        return "a signal"

    def _on_key(self, recorder: Recorder, key: str) -> None:
        running = recorder.episodes.running is not None
        actions = {
            " ": recorder.stop_episode if running else recorder.start_episode,
            "s": lambda: recorder.stop_episode(Result.SUCCESS),
            "f": lambda: recorder.stop_episode(Result.FAILURE),
            **dict.fromkeys(("d", "\x7f", "\b"), recorder.discard_episode),
        }
        if key not in actions:
            self._tell(_KEYS)
            return
        try:
            self._tell(actions[key]())
        except EpisodeError as refusal:
            self._tell(str(refusal))

    def _tell(self, text: str) -> None:
        self._end_line()
        print(text, file=sys.stderr, flush=True)

    def _show_line(self, text: str) -> None:
        """On a terminal in place of the line before."""
        if self._quiet:
            return
        if not sys.stderr.isatty():
            self._tell(text)
            return
        columns = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{text[: columns - 1]}", end="", file=sys.stderr, flush=True)
        self._line_shown = True

    def _end_line(self) -> None:
        if self._line_shown:
            print(file=sys.stderr)
        self._line_shown = False


@contextmanager
def _spinning(node: Node, recorder: Recorder) -> Iterator[None]:
    """The node's callbacks run, in a thread of their own."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            with suppress(ExternalShutdownException):
                executor.spin()
        except BaseException as error:
            recorder.fail(f"the callbacks' thread died: {error!r}")

    thread = threading.Thread(target=spin, name="ros", daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown(timeout_sec=_JOIN_S)
        thread.join(_JOIN_S)


def _how_to_begin(mode: Mode, node: Node, keys: Keys) -> str:
    if mode is Mode.CONTINUOUS:
        return ""
    if mode is Mode.FOLLOW:
        return ", waiting for the start of an episode"
    if keys.available:
        return f"; {_KEYS}"
    return f"; call {node.get_fully_qualified_name()}/start_episode to start an episode"
