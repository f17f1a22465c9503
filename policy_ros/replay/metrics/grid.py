# SPDX-License-Identifier: Apache-2.0
"""Ticks at equal distances, so that neighbours and shifts are neighbours and shifts in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.replay.trace import NO_CHUNK, EpisodeTrace

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TickGrid:
    """N places, a control period apart, from the first tick to the last.

    Attributes:
        commands: ``(N, A)`` what would have been commanded; NaN without a command, and without a tick.
        recorded: ``(N, A)`` what the controllers had been told; NaN likewise.
        predicted: ``(N, A)`` what the newest chunk whose observation was taken by then says about this place; NaN
            where none says anything.
        chunks: ``(N,)`` sequence of the newest chunk that acted, or NO_CHUNK.
    """

    commands: FloatArray
    recorded: FloatArray
    predicted: FloatArray
    chunks: NDArray[np.int64]


def on_grid(trace: EpisodeTrace) -> TickGrid:
    """The ticks of an episode, each at the nearest place."""
    ticks, period_ns = trace.ticks, trace.dt_s * 1e9
    joints = len(trace.joint_names)
    if not len(ticks.times_ns):
        nothing = np.empty((0, joints))
        return TickGrid(nothing, nothing, nothing, np.empty(0, np.int64))
    first_ns = int(ticks.times_ns[0])
    places = np.rint((ticks.times_ns - first_ns) / period_ns).astype(np.int64)
    size = int(places[-1]) + 1
    commands, recorded, predicted = (np.full((size, joints), np.nan) for _ in range(3))
    chunks = np.full(size, NO_CHUNK, np.int64)
    commands[places], recorded[places], chunks[places] = ticks.commands, ticks.recorded, ticks.chunks
    for chunk in trace.chunks:  # in the order of their begin, so that the newest is what stays
        begin = round((chunk.begin_ns - first_ns) / period_ns)
        rows = np.arange(len(chunk.actions))
        rows = rows[(begin + rows >= 0) & (begin + rows < size)]
        predicted[begin + rows] = chunk.actions[rows]
    return TickGrid(commands, recorded, predicted, chunks)
