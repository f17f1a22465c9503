# SPDX-License-Identifier: Apache-2.0
"""Parts of episodes, short enough to be drawn without leaving a tick out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import AnyArray
from policy_ros.replay.report.pictures import Picture
from policy_ros.replay.trace import NO_CHUNK, ChunkTrace, EpisodeTrace, HoldTrace

LONGEST_S = 60.0  # of a stretch [s]
TICK_VALUES = 80_000  # numbers in its commands, recorded commands and positions; 4 bytes each
CHUNK_VALUES = 50_000  # numbers in the chunks that are drawn

Lines = NDArray[np.float32]
Pictures = Mapping[int, tuple[Picture, ...]]  # sequence of a chunk to what it was computed from


@dataclass(frozen=True, eq=False)
class Moment:
    """The chunk of a stretch that was furthest from the recording.

    Attributes:
        at_s: when its observation was taken, since the begin of the episode [s].
        sequence: of the chunk, within the episode.
        error: mean absolute error of its rows over all joints [rad, m].
        joint: the joint with the largest error.
        joint_error: mean absolute error of that joint [rad, m].
        times_s: ``(H,)``, for when its rows are, since the begin of the episode [s].
        actions: ``(H, A)``.
        pictures: what the policy saw; empty where it was not kept.
    """

    at_s: float
    sequence: int
    error: float
    joint: str
    joint_error: float
    times_s: Lines
    actions: Lines
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class Stretch:
    """What is drawn of an episode. Times are since its begin [s], positions in robot units [rad, m].

    Attributes:
        bag: the bag's path.
        episode: its number, as recorded.
        episode_start_ns: log time of its begin [ns].
        begin_s: of the stretch.
        end_s: of the stretch.
        covers_s: length of the part of the episode that this stretch stands for; more than is drawn where control
            ticks are too many [s].
        joint_names: A names.
        dt_s: control period [s].
        times_s: ``(n,)``, of the ticks.
        commands: ``(n, A)``, for ``times_s + dt_s``.
        recorded: ``(n, A)``, for ``times_s + dt_s``.
        measured: ``(n, A)``, at ``times_s``.
        clamped: ``(n, A)`` bool.
        seams: ``(k,)`` int32, ticks at which a chunk took over from another.
        chunk_times_s: ``(m,)``, of the rows of chunks, one after the other, with a NaN between two.
        chunk_rows: ``(m, A)``.
        chunks_drawn: of these.
        chunks: that began in the stretch.
        holds: begin, end, cause, detail.
        worst: None where nothing could be compared.
        seam_jump: largest step of a command at a seam; 0 without seams [rad, m].
    """

    bag: str
    episode: int
    episode_start_ns: int
    begin_s: float
    end_s: float
    covers_s: float
    joint_names: tuple[str, ...]
    dt_s: float
    times_s: Lines
    commands: Lines
    recorded: Lines
    measured: Lines
    clamped: NDArray[np.bool_]
    seams: NDArray[np.int32]
    chunk_times_s: Lines
    chunk_rows: Lines
    chunks_drawn: int
    chunks: int
    holds: tuple[tuple[float, float, str, str], ...]
    worst: Moment | None
    seam_jump: float

    @property
    def key(self) -> tuple[str, int, float]:
        """What tells it from every other."""
        return Path(self.bag).name, self.episode_start_ns, self.begin_s

    @property
    def held_s(self) -> float:
        """How long it was on hold [s]."""
        return sum(end - begin for begin, end, _, _ in self.holds)


def stretches(trace: EpisodeTrace, pictures: Pictures) -> Iterator[Stretch]:
    """Cut an episode into equal parts of at most ``LONGEST_S``; a part with too many ticks is drawn around its worst
    moment. Without ticks there is nothing to draw."""
    times = trace.ticks.times_ns
    if not times.size:
        return
    parts = max(1, math.ceil((times[-1] - times[0]) * 1e-9 / LONGEST_S))
    since_ns = times - times[0]
    edges = np.searchsorted(since_ns, np.linspace(0.0, since_ns[-1] + 1.0, parts + 1))
    for part in range(parts):
        first, last = int(edges[part]), int(edges[part + 1])
        if last > first:
            yield _stretch(trace, first, last, pictures)


def chunk_error(chunk: ChunkTrace) -> NDArray[np.float64] | None:
    """Mean absolute error of a chunk for each joint, ``(A,)``, NaN for a joint that nobody commanded; None where
    nothing can be compared."""
    error = np.abs(chunk.actions - chunk.recorded)
    compared = np.isfinite(error)
    if not compared.any():
        return None
    count = compared.sum(axis=0)
    total = np.where(compared, error, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _stretch(trace: EpisodeTrace, first: int, last: int, pictures: Pictures) -> Stretch:
    times = trace.ticks.times_ns
    chunks = _begun(trace, first, last)
    worst = _worst(chunks)
    covers_s = (int(times[last - 1]) - int(times[first])) * 1e-9
    room = max(2, TICK_VALUES // (3 * len(trace.joint_names)))
    if last - first > room:
        middle = (first + last) // 2 if worst is None else int(np.searchsorted(times, worst.begin_ns))
        first = int(np.clip(middle - room // 2, first, last - room))
        last = first + room
        chunks = _begun(trace, first, last)
    begin_ns, end_ns = int(times[first]), int(times[last - 1])
    cut, ticks, start_ns = slice(first, last), trace.ticks, trace.episode.start_ns
    commands = ticks.commands[cut]
    seams = _seams(ticks.chunks[cut])
    drawn = _thinned(chunks)
    return Stretch(
        bag=str(trace.episode.bag_path),
        episode=trace.episode.index,
        episode_start_ns=start_ns,
        begin_s=(begin_ns - start_ns) * 1e-9,
        end_s=(end_ns - start_ns) * 1e-9,
        covers_s=covers_s,
        joint_names=trace.joint_names,
        dt_s=trace.dt_s,
        times_s=_single((times[cut] - start_ns) * 1e-9),
        commands=_single(commands),
        recorded=_single(ticks.recorded[cut]),
        measured=_single(ticks.measured[cut]),
        clamped=ticks.clamped[cut].copy(),
        seams=seams,
        chunk_times_s=_joined([_row_times(chunk, trace)[:, None] for chunk in drawn], 1)[:, 0],
        chunk_rows=_joined([chunk.actions for chunk in drawn], len(trace.joint_names)),
        chunks_drawn=len(drawn),
        chunks=len(chunks),
        holds=tuple(_holds(trace.holds, begin_ns, end_ns, start_ns)),
        worst=None if worst is None else _moment(worst, trace, pictures),
        seam_jump=_largest_step(commands, seams),
    )


def _begun(trace: EpisodeTrace, first: int, last: int) -> list[ChunkTrace]:
    """Chunks that began from one tick to before another; also before the first tick of all and after the last."""
    times = trace.ticks.times_ns
    begin_ns = int(times[first]) if first else -math.inf
    end_ns = int(times[last]) if last < len(times) else math.inf
    return [chunk for chunk in trace.chunks if begin_ns <= chunk.begin_ns < end_ns]


def _worst(chunks: Sequence[ChunkTrace]) -> ChunkTrace | None:
    scored = [(float(np.nanmean(error)), chunk) for chunk in chunks if (error := chunk_error(chunk)) is not None]
    return max(scored, key=lambda each: each[0])[1] if scored else None


def _moment(chunk: ChunkTrace, trace: EpisodeTrace, pictures: Pictures) -> Moment | None:
    error = chunk_error(chunk)
    if error is None:
        return None
    joint = int(np.nanargmax(error))
    return Moment(
        at_s=(chunk.begin_ns - trace.episode.start_ns) * 1e-9,
        sequence=chunk.sequence,
        error=float(np.nanmean(error)),
        joint=trace.joint_names[joint],
        joint_error=float(error[joint]),
        times_s=_single(_row_times(chunk, trace)),
        actions=_single(chunk.actions),
        pictures=pictures.get(chunk.sequence, ()),
    )


def _row_times(chunk: ChunkTrace, trace: EpisodeTrace) -> NDArray[np.float64]:
    begin_s = (chunk.begin_ns - trace.episode.start_ns) * 1e-9
    return np.asarray(begin_s + (np.arange(len(chunk.actions)) + 1.0) * trace.dt_s, dtype=np.float64)


def _thinned(chunks: Sequence[ChunkTrace]) -> Sequence[ChunkTrace]:
    """Every n-th chunk, with the smallest n that keeps them within ``CHUNK_VALUES``."""
    values = sum((len(chunk.actions) + 1) * chunk.actions.shape[1] for chunk in chunks)
    return chunks[:: max(1, math.ceil(values / CHUNK_VALUES))]


def _seams(chunks: NDArray[np.int64]) -> NDArray[np.int32]:
    """Ticks at which the newest acting chunk changes, from one to another."""
    changed = (chunks[1:] != chunks[:-1]) & (chunks[1:] != NO_CHUNK) & (chunks[:-1] != NO_CHUNK)
    return (np.flatnonzero(changed) + 1).astype(np.int32)


def _largest_step(commands: AnyArray, seams: NDArray[np.int32]) -> float:
    steps = np.abs(commands[seams] - commands[seams - 1])
    finite = steps[np.isfinite(steps)]
    return float(finite.max()) if finite.size else 0.0


def _holds(
    holds: Sequence[HoldTrace], begin_ns: int, end_ns: int, start_ns: int
) -> Iterator[tuple[float, float, str, str]]:
    for hold in holds:
        if hold.end_ns >= begin_ns and hold.begin_ns <= end_ns:
            first, last = max(hold.begin_ns, begin_ns), min(hold.end_ns, end_ns)
            yield (first - start_ns) * 1e-9, (last - start_ns) * 1e-9, hold.cause, hold.detail


def _joined(parts: Sequence[AnyArray], columns: int) -> Lines:
    """Rows of all parts with a row of NaN between two, so that one line can draw them."""
    gap = np.full((1, columns), np.nan, dtype=np.float32)
    rows = [piece for part in parts for piece in (part, gap)][:-1]
    return _single(np.concatenate(rows)) if rows else np.empty((0, columns), dtype=np.float32)


def _single(values: AnyArray) -> Lines:
    return np.array(values, dtype=np.float32)  # a copy: a view would keep the whole episode in memory
