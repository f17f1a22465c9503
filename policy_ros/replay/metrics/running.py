# SPDX-License-Identifier: Apache-2.0
"""How the execution went: chunks and their timing, holds, the gate, what part of the episode had commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_ros.execution import ExecutionState, HoldCause
from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.metrics.grid import TickGrid
from policy_ros.replay.metrics.rounding import integers, rounded
from policy_ros.replay.trace import EpisodeTrace

NOT_READY = "NOT_READY"
# Why a part of an episode has no commands: before every input was there, or the state of the execution.
REASONS = (NOT_READY, *(state.name for state in ExecutionState))


@dataclass(frozen=True)
class ChunkMetrics:
    """The inferences of an episode.

    Attributes:
        count: that came to a result.
        executed: of these, of which a row was executed.
        guided: of these, guided to continue the chunk before.
        modes: what acted, and how often.
        degradations: why it was not the mode that was chosen, and how often.
        counters: ``chunks_late``, ``chunks_rejected``, ``inference_errors`` of the execution.
        not_ready: why no observation could be had, and how often.
        delay: d, of executed chunks that followed another in their epoch [steps].
        latency: on the clock of the replay [s].
        observation_age: of the oldest input when the inference began [s].
        skew: between the oldest and the newest input [s].
    """

    count: int
    executed: int
    guided: int
    modes: Mapping[str, int]
    degradations: Mapping[str, int]
    counters: Mapping[str, int]
    not_ready: Mapping[str, int]
    delay: Distribution
    latency: Distribution
    observation_age: Distribution
    skew: Distribution

    @staticmethod
    def of(trace: EpisodeTrace) -> ChunkMetrics:
        """Of one episode."""
        chunks = trace.chunks
        executed = [chunk for chunk in chunks if chunk.took_over_ns is not None]
        epochs: set[int] = set()
        delays = []
        for chunk in executed:
            if chunk.epoch in epochs:  # the first of an epoch replaces nothing
                delays.append(chunk.delay_steps)
            epochs.add(chunk.epoch)
        return ChunkMetrics(
            count=len(chunks),
            executed=len(executed),
            guided=sum(chunk.guided for chunk in chunks),
            modes=_tally(chunk.mode for chunk in chunks),
            degradations=_tally(chunk.degradation for chunk in chunks if chunk.degradation),
            counters={
                name: int(trace.counters[name]) for name in ("chunks_late", "chunks_rejected", "inference_errors")
            },
            not_ready=dict(sorted(trace.not_ready.items())),
            delay=Distribution.of(delays),
            latency=Distribution.of(chunk.latency_s for chunk in chunks),
            observation_age=Distribution.of(chunk.observation_age_s for chunk in chunks),
            skew=Distribution.of(chunk.skew_s for chunk in chunks),
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ChunkMetrics:
        """From what ``dataclasses.asdict`` made."""
        distributions = {
            name: Distribution.from_json(value[name]) for name in ("delay", "latency", "observation_age", "skew")
        }
        return ChunkMetrics(**{**value, **distributions})


@dataclass(frozen=True)
class RunMetrics:
    """The ticks of an episode.

    Attributes:
        span_s: length of the episode [s].
        commanded_s: of it, with a command [s].
        predicted_s: of it, with a chunk that says something about it [s].
        without_s: of it, without a command, by :data:`REASONS` [s].
        commands: ticks with a command.
        holds: by cause.
        hold_s: how long they lasted, by cause [s].
        deadline_misses: ticks at which a row was due and none was there.
        clamped: commands that the gate changed.
        clamped_joints: A values, of each joint.
        rejected: rows that the gate refused.
        resets: holds that the replay itself ended.
        jumps: of the recording's clock.
    """

    span_s: float
    commanded_s: float
    predicted_s: float
    without_s: Mapping[str, float]
    commands: int
    holds: Mapping[str, int]
    hold_s: Mapping[str, float]
    deadline_misses: int
    clamped: int
    clamped_joints: tuple[int, ...]
    rejected: int
    resets: int
    jumps: int

    @staticmethod
    def of(trace: EpisodeTrace, grid: TickGrid) -> RunMetrics:
        """Of one episode.

        Raises:
            ValueError: the cause of a hold is none of :class:`policy_ros.execution.HoldCause`.
        """
        ticks, dt_s = trace.ticks, trace.dt_s
        count, with_command = len(ticks.times_ns), np.isfinite(ticks.commands).all(axis=1)
        missing = _tally(ExecutionState(state).name for state in ticks.states[~with_command])
        span_s = max(trace.duration_s, count * dt_s)
        without = {NOT_READY: span_s - count * dt_s}
        without |= {state: steps * dt_s for state, steps in missing.items()}
        held: Counter[str] = Counter()
        for hold in trace.holds:
            _require_cause(hold.cause)
            held[hold.cause] += hold.end_ns - hold.begin_ns
        return RunMetrics(
            span_s=rounded(span_s),
            commanded_s=rounded(int(with_command.sum()) * dt_s),
            predicted_s=rounded(int(np.isfinite(grid.predicted).all(axis=1).sum()) * dt_s),
            without_s={reason: rounded(seconds) for reason, seconds in without.items()},
            commands=int(with_command.sum()),
            holds=_tally(hold.cause for hold in trace.holds),
            hold_s={cause: rounded(nanoseconds * 1e-9) for cause, nanoseconds in sorted(held.items())},
            deadline_misses=trace.deadline_misses,
            clamped=int(trace.counters["gate_clamped"]),
            clamped_joints=integers(ticks.clamped.sum(axis=0)),
            rejected=int(trace.counters["gate_rejected"]),
            resets=int(trace.counters["resets"]),
            jumps=trace.jumps,
        )

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> RunMetrics:
        """From what ``dataclasses.asdict`` made."""
        return RunMetrics(**{**value, "clamped_joints": tuple(value["clamped_joints"])})


def _require_cause(cause: str) -> None:
    if cause not in HoldCause.__members__:
        raise ValueError(f"expected the cause of a hold, one of {', '.join(HoldCause.__members__)}, got '{cause}'")


def _tally(names: Any) -> dict[str, int]:
    """How often each occurs, in the order of the names."""
    return dict(sorted(Counter(names).items()))
