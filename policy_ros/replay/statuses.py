# SPDX-License-Identifier: Apache-2.0
"""What the node would have said about itself during an episode: fields of ``PolicyStatus.msg``, ten times a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.execution import ExecutionState
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace

PERIOD_NS = 100_000_000


def statuses(trace: EpisodeTrace) -> Iterator[tuple[int, dict[str, Any]]]:
    """Log time [ns] and fields; those that a trace does not tell are left out. Counts are of the episode so far."""
    ticks = trace.ticks
    commanded = ~np.isnan(ticks.commands).all(axis=1)
    running = np.cumsum(ticks.states == ExecutionState.RUNNING)
    counts = {"commands": np.cumsum(commanded), "gate_clamped": np.cumsum(ticks.clamped.any(axis=1))}
    took_over = executed_chunks(trace)
    over_ns = np.array([time_ns for time_ns, _ in took_over], dtype=np.int64)
    jumps = _seam_jumps(trace, over_ns)
    for index in _every_period(ticks.times_ns):
        now_ns = int(ticks.times_ns[index])
        fields: dict[str, Any] = {
            "state": int(ticks.states[index]),
            "mode": trace.mode,
            "active_mode": trace.mode,
            "commands_enabled": False,
            "chunks": int(np.searchsorted(over_ns, now_ns, side="right")),
            **{name: int(values[index]) for name, values in counts.items()},
            **_holds(trace, now_ns),
        }
        if fields["chunks"]:
            _, newest = took_over[fields["chunks"] - 1]
            fields |= _of_chunk(newest)
            fields["chunks_guided"] = sum(chunk.guided for _, chunk in took_over[: fields["chunks"]])
            fields["seam_jump"] = float(jumps[fields["chunks"] - 1])
            began_ns = next(time_ns for time_ns, chunk in took_over if chunk.epoch == newest.epoch)
            before = int(np.searchsorted(ticks.times_ns, began_ns))
            fields["step"] = int(running[index] - (running[before - 1] if before else 0))
        yield now_ns, fields


def executed_chunks(trace: EpisodeTrace) -> list[tuple[int, ChunkTrace]]:
    """Those of which a row was executed, each with the log time of the first one [ns], in the order of time."""
    found = [(chunk.took_over_ns, chunk) for chunk in trace.chunks if chunk.took_over_ns is not None]
    return sorted(found, key=lambda each: each[0])


def _every_period(times_ns: NDArray[np.int64]) -> Iterator[int]:
    """The first tick of every period."""
    due_ns = -1
    for index, time_ns in enumerate(times_ns.tolist()):
        if time_ns >= due_ns:
            yield index
            due_ns = time_ns - time_ns % PERIOD_NS + PERIOD_NS


def _seam_jumps(trace: EpisodeTrace, over_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest step of a command onto each chunk from the command before it [rad, m]; NaN where there was none."""
    commands = np.vstack([np.full((1, trace.ticks.commands.shape[1]), np.nan), trace.ticks.commands])
    steps = np.abs(np.diff(commands, axis=0)).max(axis=1)  # of each tick from the one before
    return np.append(steps, np.nan)[np.searchsorted(trace.ticks.times_ns, over_ns)]


def _holds(trace: EpisodeTrace, now_ns: int) -> dict[str, Any]:
    begun = [hold for hold in trace.holds if hold.begin_ns <= now_ns]
    in_force = [hold for hold in begun if now_ns < hold.end_ns]
    return {"holds": len(begun), "hold_cause": in_force[-1].cause if in_force else ""}


def _of_chunk(chunk: ChunkTrace) -> dict[str, Any]:
    horizon, delay, every = len(chunk.actions), chunk.delay_steps, chunk.execution_horizon
    return {
        "active_mode": chunk.mode,
        "degradation": chunk.degradation,
        "epoch": chunk.epoch,
        "horizon": horizon,
        "execution_horizon": every,
        "delay": delay,
        "feasible": delay <= every <= horizon - delay,
        "inference_latency": chunk.latency_s,
        "observation_age": chunk.observation_age_s,
    }
