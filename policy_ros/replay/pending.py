# SPDX-License-Identifier: Apache-2.0
"""Chunks on their way to a trace: until it is known whether they took over, and what was really commanded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ActionChunk, JointScaling, Observation
from policy_ros.execution import InferenceTrace
from policy_ros.replay.setpoints import Setpoints
from policy_ros.replay.trace import ChunkTrace


@dataclass(eq=False)
class _Pending:
    observation: Observation
    begin_ns: int
    recorded: NDArray[np.float64]
    sequence: int = 0
    inference: InferenceTrace | None = None
    took_over_ns: int | None = None
    delay_steps: int = 0
    execution_horizon: int = 0


class PendingChunks:
    """One episode's chunks.

    Args:
        setpoints: asked for what was commanded at the time of each row.
        scaling: from units of the policy to robot units.
        horizon: H.
        dt_s: control period [s].
        finished: receives each chunk as soon as all is known about it, in the order of their begin.
    """

    def __init__(
        self,
        setpoints: Setpoints,
        scaling: JointScaling,
        *,
        horizon: int,
        dt_s: float,
        finished: Callable[[ChunkTrace, Observation], None],
    ) -> None:
        self._setpoints = setpoints
        self._scaling = scaling
        self._horizon, self._dt_s = horizon, dt_s
        self._finished = finished
        self._chunks: deque[_Pending] = deque()
        self._begun: _Pending | None = None  # its inference is under way
        self._matched = 0
        self._sequence = 0

    def begin(self, observation: Observation, now_ns: int) -> None:
        """An inference begins; nothing came of the one before if it is still under way."""
        recorded = np.full((self._horizon, len(self._scaling.names)), np.nan)
        for row in range(self._horizon):
            self._setpoints.ask(now_ns + round((row + 1) * self._dt_s * 1e9), recorded, row)
        self._begun = _Pending(observation, now_ns, recorded)

    def match(self, inferences: Sequence[InferenceTrace]) -> None:
        """Inferences that came to a result so far; those that are not executable are left out."""
        for inference in inferences[self._matched :]:
            begun, self._begun = self._begun, None
            if begun is None or begun.begin_ns != inference.begin_ns:
                raise RuntimeError(f"expected the inference that began at {inference.begin_ns}")  # a bug here
            if inference.actions.shape != begun.recorded.shape or not np.all(np.isfinite(inference.actions)):
                continue
            begun.inference, begun.sequence = inference, self._sequence
            self._sequence += 1
            self._chunks.append(begun)
        self._matched = len(inferences)

    def took_over(self, chunk: ActionChunk, now_ns: int) -> int:
        """A tick executes the first row of this chunk. Returns its number."""
        for pending in reversed(self._chunks):
            inference = pending.inference
            assert inference is not None  # matched
            if (inference.epoch, inference.first_step) == (chunk.epoch, chunk.first_step):
                pending.took_over_ns = now_ns
                pending.delay_steps, pending.execution_horizon = chunk.delay_steps, chunk.execution_horizon
                return pending.sequence
        raise RuntimeError(f"expected a chunk of step {chunk.first_step} in epoch {chunk.epoch}")  # a bug here

    def hand_over(self, now_ns: int) -> None:
        """Pass on what nothing more will be known about; a tick at ``now_ns`` is over."""
        while self._chunks:
            first = self._chunks[0]
            last_row_ns = first.begin_ns + round(self._horizon * self._dt_s * 1e9)
            assert first.inference is not None  # matched
            waits = first.took_over_ns is None and first.inference.end_ns >= now_ns
            if waits or not self._setpoints.known(last_row_ns):
                return
            self._pass_on(self._chunks.popleft())

    def flush(self) -> None:
        """The episode is over."""
        while self._chunks:
            self._pass_on(self._chunks.popleft())

    def _pass_on(self, pending: _Pending) -> None:
        inference, observation = pending.inference, pending.observation
        assert inference is not None  # matched
        stamps = observation.stamps_ns.values()
        chunk = ChunkTrace(
            sequence=pending.sequence,
            epoch=inference.epoch,
            begin_ns=inference.begin_ns,
            end_ns=inference.end_ns,
            took_over_ns=pending.took_over_ns,
            delay_steps=pending.delay_steps,
            execution_horizon=pending.execution_horizon,
            mode=inference.mode,
            degradation=inference.degradation,
            guided=inference.guided,
            actions=self._scaling.to_robot(inference.actions),
            recorded=pending.recorded,
            observation_stamps_ns=dict(observation.stamps_ns),
            observation_age_s=(inference.begin_ns - observation.stamp_ns) * 1e-9,
            skew_s=(max(stamps) - min(stamps)) * 1e-9 if stamps else 0.0,
        )
        self._finished(chunk, observation)
