# SPDX-License-Identifier: Apache-2.0
"""What the node's status messages say about chunks, holds and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from policy_ros.execution import ExecutionState
from policy_ros.replay.trace import HoldTrace
from policy_ros.ros.replay.values import COUNTERS, HeardChunk, HeardStatus

STARVED = "STARVED"
_END = "SHUTDOWN"  # the hold of a node that is being deactivated


@dataclass(frozen=True)
class ChunkFacts:
    """What the status adds to a chunk.

    Attributes:
        begin_ns: when its observation was taken.
        end_ns: when its result was there.
        mode: what acted.
        degradation: why that is not the mode that was chosen.
        guided: whether it was guided.
    """

    begin_ns: int
    end_ns: int
    mode: str
    degradation: str
    guided: bool


def while_active(statuses: Sequence[HeardStatus]) -> list[HeardStatus]:
    """Those of an active node, before it is brought down."""
    return [each for each in statuses if each.state != ExecutionState.IDLE and each.hold_cause != _END]


def counts_before(statuses: Sequence[HeardStatus], start_ns: int) -> Mapping[str, int]:
    """Counters at the beginning of an episode: zeros, unless the node was active already."""
    before = [each for each in statuses if each.stamp_ns < start_ns]
    if not before or before[-1].state == ExecutionState.IDLE:
        return dict.fromkeys(COUNTERS, 0)
    return before[-1].counters


def counted(active: Sequence[HeardStatus], before: Mapping[str, int]) -> dict[str, int]:
    """What was counted during an episode; a node that was activated anew began at zero again.

    Args:
        active: its statuses while active.
        before: counters when the episode began.
    """
    total = dict.fromkeys(COUNTERS, 0)
    for status in active:
        if any(status.counters[name] < before[name] for name in COUNTERS):
            before = dict.fromkeys(COUNTERS, 0)
        for name in COUNTERS:
            total[name] += status.counters[name] - before[name]
        before = status.counters
    return total


def chunk_facts(
    chunks: Sequence[HeardChunk], active: Sequence[HeardStatus], before: Mapping[str, int]
) -> list[ChunkFacts]:
    """Facts about each chunk.

    A status that counts as many chunks as there were up to this one measured the inference of this one: its age is
    exact then. Between two statuses several chunks may have taken over; of those that none speaks of, the newest
    observation stamp counts as the begin.
    """
    pace = _pace(active)
    return [_facts(chunk, active, before, pace) for chunk in chunks]


def _facts(chunk: HeardChunk, active: Sequence[HeardStatus], before: Mapping[str, int], pace: float) -> ChunkFacts:
    stamps = chunk.observation_stamps_ns.values()
    begin_ns, end_ns = max(stamps, default=chunk.took_over_ns), chunk.took_over_ns
    count = chunk.sequence + 1
    after = [each for each in active if each.counters["chunks"] >= count and each.epoch >= chunk.epoch]
    if not after:
        return ChunkFacts(begin_ns, end_ns, "", "", False)
    status = after[0]
    if status.counters["chunks"] == count and status.epoch == chunk.epoch and stamps:
        begin_ns = min(min(stamps) + round(status.observation_age_s * 1e9), end_ns)
        end_ns = min(begin_ns + round(status.inference_latency_s * pace * 1e9), end_ns)
    return ChunkFacts(begin_ns, end_ns, status.active_mode, status.degradation, _guided(count, active, before))


def _guided(count: int, active: Sequence[HeardStatus], before: Mapping[str, int]) -> bool:
    """Whether the chunk that makes ``count`` was guided; of several between two statuses the later ones are taken."""
    for status in active:
        if status.counters["chunks"] >= count:
            guided = status.counters["chunks_guided"] - before["chunks_guided"]
            return status.counters["chunks"] - guided < count if guided > 0 else False
        before = status.counters
    return False


def _pace(active: Sequence[HeardStatus]) -> float:
    """Seconds of the node's clock in one second: latencies are measured in real time."""
    if len(active) < 2 or active[-1].heard_s <= active[0].heard_s:
        return 1.0
    return (active[-1].stamp_ns - active[0].stamp_ns) * 1e-9 / (active[-1].heard_s - active[0].heard_s)


def holds_of(active: Sequence[HeardStatus], stop_ns: int) -> list[HoldTrace]:
    """Holds as the statuses show them, but for waiting for a chunk; each begins with the first that shows it."""
    found: list[HoldTrace] = []
    cause, begin_ns = "", 0
    for status in active:
        if status.hold_cause == cause:
            continue
        if cause not in ("", STARVED):
            found.append(HoldTrace(begin_ns, status.stamp_ns, cause, ""))
        cause, begin_ns = status.hold_cause, status.stamp_ns
    if cause not in ("", STARVED):
        found.append(HoldTrace(begin_ns, stop_ns, cause, ""))
    return found


def superseded(chunks: Sequence[HeardChunk]) -> int:
    """Chunks that took over and were replaced by the next before a tick had executed any of their rows."""
    return sum(
        max(0, after.sequence - before.sequence - 1)
        for before, after in pairwise(chunks)
        if after.epoch >= before.epoch
    )


def latencies(statuses: Sequence[HeardStatus]) -> list[float]:
    """What inferences took, in real time [s]: of each status that counts another chunk than the one before."""
    counts = [each.counters["chunks"] for each in statuses]
    return [
        status.inference_latency_s
        for before, count, status in zip([0, *counts], counts, statuses, strict=False)
        if count not in (before, 0)
    ]
