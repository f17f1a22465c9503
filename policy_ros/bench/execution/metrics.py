# SPDX-License-Identifier: Apache-2.0
"""From what happened in an episode to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.bench.execution.episode import Trace
from policy_ros.bench.execution.task import ForkedPath
from policy_ros.execution import ExecutionState


@dataclass(frozen=True)
class EpisodeMetrics:
    """Numbers of one episode.

    Attributes:
        success: the goal was reached and no obstacle touched.
        reached: the goal was reached.
        collisions: ticks whose step touched an obstacle.
        task_time_s: from the start, the first inference included, to the goal; the time limit where it was not reached.
        start_time_s: of it, until the first command.
        tracking_rms_rad: root mean square distance of the arm from the nearer way.
        seam_jump_rad: largest step of a joint's command into a new chunk.
        seam_excess_rad: largest change of its step there (second difference), which the motion itself hardly has.
        peak_acceleration: largest second difference of commands anywhere, over the squared period [rad/s^2].
        holds: of the executor.
        starved_ticks: control ticks without a row after the first command.
        inferences: that ended before the goal was reached.
        chunks: that took over.
        chunks_guided: of these, guided.
        delay_steps: largest measured delay [steps].
    """

    success: bool
    reached: bool
    collisions: int
    task_time_s: float
    start_time_s: float
    tracking_rms_rad: float
    seam_jump_rad: float
    seam_excess_rad: float
    peak_acceleration: float
    holds: int
    starved_ticks: int
    inferences: int
    chunks: int
    chunks_guided: int
    delay_steps: int


def measure(trace: Trace, path: ForkedPath) -> EpisodeMetrics:
    """Numbers of an episode."""
    positions = trace.positions
    steps = np.diff(trace.commands, axis=0)  # (T, A)
    changes = np.abs(np.diff(steps, axis=0, prepend=np.zeros((1, steps.shape[1]))))  # (T, A), at rest before the start
    seams = later_seams(trace)
    collisions = int(np.sum(path.collisions(positions)))
    running = trace.states == ExecutionState.RUNNING
    return EpisodeMetrics(
        success=trace.reached and collisions == 0,
        reached=trace.reached,
        collisions=collisions,
        task_time_s=len(steps) * trace.period_s,
        start_time_s=float(np.argmax(running)) * trace.period_s,
        tracking_rms_rad=root_mean_square(path.distance(positions)),
        seam_jump_rad=float(np.max(np.abs(steps[seams]), initial=0.0)),
        seam_excess_rad=float(np.max(changes[seams], initial=0.0)),
        peak_acceleration=float(np.max(changes)) / trace.period_s**2,
        holds=trace.status.holds,
        starved_ticks=int(np.sum(trace.states == ExecutionState.STARVED)),
        inferences=len(trace.inferences_s),
        chunks=trace.status.chunks,
        chunks_guided=trace.status.chunks_guided,
        delay_steps=max(trace.delays, default=0),
    )


def later_seams(trace: Trace) -> NDArray[np.int64]:
    """Ticks at which a chunk followed another one."""
    return np.flatnonzero(trace.seams)[1:]


def root_mean_square(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


@dataclass(frozen=True)
class Summary:
    """Numbers over all episodes of one policy, mode and delay; named as in :class:`EpisodeMetrics`.

    Attributes:
        episodes: how many.
        success, reached: shares of the episodes.
        task_time_s, start_time_s, holds, starved_ticks, inferences, chunks, chunks_guided, collisions: means.
        tracking_rms_rad: over all episodes.
        seam_jump_rad, seam_excess_rad, peak_acceleration: the largest of all episodes.
        seam_jump_typical_rad, seam_excess_typical_rad, peak_acceleration_typical: medians of the episodes' largest.
        delay_steps: the largest measured delay [steps].
        active_modes: what acted, in order of appearance: the mode, or what it was degraded to.
        degradation: newest reason, empty without.
    """

    episodes: int
    success: float
    reached: float
    collisions: float
    task_time_s: float
    start_time_s: float
    tracking_rms_rad: float
    seam_jump_rad: float
    seam_jump_typical_rad: float
    seam_excess_rad: float
    seam_excess_typical_rad: float
    peak_acceleration: float
    peak_acceleration_typical: float
    holds: float
    starved_ticks: float
    inferences: float
    chunks: float
    chunks_guided: float
    delay_steps: int
    active_modes: tuple[str, ...]
    degradation: str


def summarise(metrics: Sequence[EpisodeMetrics], traces: Sequence[Trace]) -> Summary:
    """Over all episodes of one policy, mode and delay."""

    def column(name: str) -> NDArray[np.float64]:
        return np.array([float(getattr(one, name)) for one in metrics])

    def mean(name: str) -> float:
        return float(np.mean(column(name)))

    def largest(name: str) -> float:
        return float(np.max(column(name)))

    def typical(name: str) -> float:
        return float(np.median(column(name)))

    return Summary(
        episodes=len(metrics),
        success=mean("success"),
        reached=mean("reached"),
        collisions=mean("collisions"),
        task_time_s=mean("task_time_s"),
        start_time_s=mean("start_time_s"),
        tracking_rms_rad=root_mean_square(column("tracking_rms_rad")),
        seam_jump_rad=largest("seam_jump_rad"),
        seam_jump_typical_rad=typical("seam_jump_rad"),
        seam_excess_rad=largest("seam_excess_rad"),
        seam_excess_typical_rad=typical("seam_excess_rad"),
        peak_acceleration=largest("peak_acceleration"),
        peak_acceleration_typical=typical("peak_acceleration"),
        holds=mean("holds"),
        starved_ticks=mean("starved_ticks"),
        inferences=mean("inferences"),
        chunks=mean("chunks"),
        chunks_guided=mean("chunks_guided"),
        delay_steps=max(one.delay_steps for one in metrics),
        active_modes=tuple(dict.fromkeys(mode for trace in traces for mode in trace.modes)),
        degradation=next((trace.degradation for trace in traces if trace.degradation), ""),
    )
