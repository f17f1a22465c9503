# SPDX-License-Identifier: Apache-2.0
"""The control tick: freshness in, next rows out, on every command topic. Runs on the control thread."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher

from policy_ros.data import ActionChunk, StreamHealth
from policy_ros.execution import ChunkExecutor, ControlStep, ExecutionState, HoldCause, Tick
from policy_ros.observation import ObservationAssembler
from policy_ros.ros.clocks import LocalTime
from policy_ros.ros.convert import action_chunk_message
from policy_ros.ros.heartbeat import Heartbeat
from policy_ros.ros.outputs import Output

CALLBACKS = "callbacks"  # stands beside the streams that they feed
_NS = 1_000_000_000


class ControlTick:
    """One call per control period. Once silenced, nothing is published any more, whatever still runs.

    Args:
        assembler: freshness and measured positions.
        executor: what to command.
        outputs: command topics; empty in a dry run.
        chunks: publisher of ``~/action_chunk``.
        measured_order: columns of the state vector that are the action joints.
        joint_names: of the action vector.
        policy_name: registered name, for ``~/action_chunk``.
        dt_s: control period [s].
        command_s: a command that has not gone out within this time after its tick began is not sent any more [s].
        time: local time.
        heartbeat: of the callbacks; the robot holds while they stall.
        report_error: receives what goes wrong in a tick, in one line.
    """

    def __init__(
        self,
        *,
        assembler: ObservationAssembler,
        executor: ChunkExecutor,
        outputs: Sequence[Output],
        chunks: Publisher,
        measured_order: Sequence[int],
        joint_names: Sequence[str],
        policy_name: str,
        dt_s: float,
        command_s: float,
        time: LocalTime,
        heartbeat: Heartbeat,
        report_error: Callable[[str], None],
    ) -> None:
        self._assembler = assembler
        self._executor = executor
        self._outputs = outputs
        self._chunks = chunks
        self._step = ControlStep(assembler, executor, measured_order, dry_run=not outputs)
        self._joint_names = tuple(joint_names)
        self._policy_name = policy_name
        self._dt_s = dt_s
        self._command_ns = round(command_s * _NS)
        self._time = time
        self._heartbeat = heartbeat
        self._report_error = report_error
        self._publishing = threading.Lock()
        self._silent = True
        self._at_rest = threading.Event()  # since come_to_rest() was called
        self._previous: NDArray[np.float64] | None = None  # the row before, while the robot moves along
        self._place: NDArray[np.float64] | None = None  # where the robot was last commanded to be

    def look_through(self, assembler: ObservationAssembler, policy_name: str) -> None:
        """Another policy commands from now on, which observes by another assembler; what was commanded stays known."""
        self._assembler = assembler
        self._step.look_through(assembler)
        self._policy_name = policy_name

    def __call__(self) -> None:
        now_ns = self._time.now_ns()
        tick = self._step(now_ns, self._health(now_ns))
        with self._publishing:
            if not self._silent:
                self._publish(tick, now_ns)

    def _health(self, now_ns: int) -> StreamHealth:
        """Freshness of the streams; where the callbacks stall, none of them can be trusted, whatever its stamps."""
        health, heartbeat = self._assembler.health(now_ns), self._heartbeat
        if not heartbeat.stalled():
            return health
        expected = f"expected them every {heartbeat.timeout_s:.3g} s, the last ones ran {heartbeat.age_s():.3g} s ago"
        self._executor.hold(HoldCause.CALLBACKS_STALLED, expected)
        return dataclasses.replace(health, expired=(*health.expired, CALLBACKS))

    def failed(self, error: Exception) -> None:
        """The tick itself raised: the next one publishes the hold."""
        self._report_error(f"control tick failed: {type(error).__name__}: {error}")
        self._executor.hold(HoldCause.INTERNAL_ERROR, f"control tick: {type(error).__name__}: {error}")

    def unsilence(self) -> None:
        """Allow publishing."""
        with self._publishing:
            self._previous = self._place = None
            self._step.begin()
            self._silent = False

    def come_to_rest(self, reason: str, timeout_s: float) -> bool:
        """Brake as for a hold, and wait at most ``timeout_s`` for the end of it; False if nobody ticks any more."""
        self._at_rest.clear()
        self._executor.hold(HoldCause.SHUTDOWN, reason)
        return self._at_rest.wait(timeout_s)

    def silence(self) -> None:
        """After this nothing is published; a robot that is not held yet is commanded to stay in place first."""
        with self._publishing:
            if self._silent:
                return
            self._silent = True
            if self._place is not None:
                self._publish_hold(self._place)

    def _publish(self, tick: Tick, now_ns: int) -> None:
        stamp_ns = self._time.to_ros(now_ns)
        if tick.window is not None:
            for output in self._outputs:
                # The thread may have been interrupted, or the middleware been stuck with the output before.
                if self._time.now_ns() - now_ns > self._command_ns:
                    self._report_error(f"the command for output '{output.name}' is overdue and was not sent")
                    break
                output.publish(tick.window, self._previous, stamp_ns)
            self._previous = self._place = tick.window[0]
        else:
            self._previous = None  # the robot comes to rest
        if tick.hold is not None:
            self._publish_hold(tick.hold)
        if tick.window is None and tick.state in (ExecutionState.HOLDING, ExecutionState.WAITING):
            self._place = None  # what was commanded before a hold or a reset is no place to return to
            self._at_rest.set()
        if tick.chunk is not None:
            self._chunks.publish(self._chunk_message(tick.chunk, tick.step, stamp_ns))

    def _publish_hold(self, positions: NDArray[np.float64]) -> None:
        for output in self._outputs:
            output.publish_hold(positions)

    def _chunk_message(self, chunk: ActionChunk, step: int, stamp_ns: int):
        return action_chunk_message(
            chunk,
            policy=self._policy_name,
            joint_names=self._joint_names,
            dt_s=self._dt_s,
            stamp_ns=stamp_ns - round((step - chunk.first_step) * self._dt_s * _NS),
            observation_stamps_ns={stream: self._time.to_ros(ns) for stream, ns in chunk.observation_stamps_ns.items()},
        )
