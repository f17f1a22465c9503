# SPDX-License-Identifier: Apache-2.0
"""From what a node published during an episode to the values that an offline replay gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Bag, Episode, MalformedMessage
from policy_ros.bags.cdr import JointStateReader
from policy_ros.data import Observation
from policy_ros.errors import ObservationError
from policy_ros.execution import ExecutionState
from policy_ros.observation import ObservationAssembler
from policy_ros.parameters.topics import absolute_topic
from policy_ros.policies.base import Policy
from policy_ros.replay.cursor import MessageCursor
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.parts import ReplayParts
from policy_ros.replay.pictures import PictureAverages
from policy_ros.replay.trace import NO_CHUNK, ChunkTrace, EpisodeTrace, HoldTrace, ReplayListener, TickTrace
from policy_ros.ros.replay.reconstruction import HeldPeriod, Reconstruction, WorkedOutTick
from policy_ros.ros.replay.status_facts import (
    STARVED,
    ChunkFacts,
    chunk_facts,
    counted,
    counts_before,
    holds_of,
    superseded,
    while_active,
)
from policy_ros.ros.replay.values import HeardChunk, HeardStatus

Rows = NDArray[np.float64]


class TraceBuilder:
    """Makes the traces of one bag.

    Args:
        bag: what is played.
        policy: the node's; it is not asked for actions here.
        options: as for an offline replay; delay and seed play no part.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
        ConfigurationError: parameters that do not fit the policy or each other.
    """

    def __init__(self, bag: Bag, policy: Policy, options: ReplayOptions) -> None:
        self._bag = bag
        self._parts = ReplayParts(bag, policy, options)
        self._joints_topic = absolute_topic(options.parameters.joints.topic, options.namespace)
        self._names = self._parts.scaling.names
        self._period_s = self._parts.config.period_s

    def tell(
        self,
        episode: Episode,
        chunks: Sequence[HeardChunk],
        statuses: Sequence[HeardStatus],
        listener: ReplayListener,
        *,
        until_ns: int | None = None,
        resets: int = 0,
        problems: Sequence[str] = (),
    ) -> EpisodeTrace:
        """Tell the listener what happened in an episode.

        Args:
            episode: which.
            chunks: those that took over until its end, in the order of time.
            statuses: from before its start to its end.
            listener: told of the chunks in their order, then of the episode.
            until_ns: how far it was played; None: to its end.
            resets: holds that were ended from outside.
            problems: found while it was played.
        """
        chunks = [chunk for chunk in chunks if chunk.took_over_ns >= episode.start_ns]
        active = [each for each in while_active(statuses) if each.stamp_ns >= episode.start_ns]
        before = counts_before(statuses, episode.start_ns)
        facts = chunk_facts(chunks, active, before)
        traces = tuple(_chunk_trace(i, *each) for i, each in enumerate(zip(chunks, facts, strict=True)))
        stop_ns = episode.stop_ns if until_ns is None else min(until_ns, episode.stop_ns)
        holds = holds_of(active, stop_ns)
        ticks = self._ticks(episode, chunks, facts, holds, active, stop_ns)
        if self._parts.gapless:
            holds = sorted([*holds, *_waits(ticks, stop_ns)], key=lambda hold: hold.begin_ns)
        self._fill_in_setpoints(episode, traces, ticks)
        pictures = PictureAverages(self._parts.trained_pictures)
        for trace, observation in self._observations(episode, traces):
            listener.chunk(trace, observation)
            if observation.features:
                pictures.add(observation)
        starved = int(np.sum(ticks.states == ExecutionState.STARVED))
        result = EpisodeTrace(
            episode=episode,
            joint_names=self._names,
            dt_s=self._period_s,
            mode=self._parts.config.mode,
            ticks=ticks,
            chunks=traces,
            holds=tuple(holds),
            counters={**counted(active, before), "resets": resets, "chunks_superseded": superseded(chunks)},
            deadline_misses=starved if self._parts.gapless else 0,
            has_commands=self._parts.has_commands,
            problems=tuple(problems),
            pictures=pictures.trace(),
        )
        listener.episode(result)
        return result

    def _ticks(
        self,
        episode: Episode,
        chunks: Sequence[HeardChunk],
        facts: Sequence[ChunkFacts],
        holds: Sequence[HoldTrace],
        active: Sequence[HeardStatus],
        stop_ns: int,
    ) -> TickTrace:
        measured = _Measured.read(self._bag, episode, self._joints_topic, self._names)
        reconstruction = Reconstruction(
            self._parts.make_strategy(),
            self._parts.gate,
            period_ns=round(self._period_s * 1e9),
            joints=len(self._names),
            lookahead=self._parts.config.lookahead_steps,
            measured=measured.at,
        )
        ticks = reconstruction.ticks(
            chunks,
            [each.guided for each in facts],
            [HeldPeriod(hold.begin_ns, hold.end_ns) for hold in holds],
            active[0].stamp_ns if active else stop_ns,
            stop_ns,
        )
        return _tick_trace(ticks, len(self._names), measured)

    def _fill_in_setpoints(self, episode: Episode, traces: Sequence[ChunkTrace], ticks: TickTrace) -> None:
        """What the robot's controllers had been told at the time of every row and every tick."""
        setpoints = self._parts.setpoints
        setpoints.begin()
        for trace in traces:
            for i in range(len(trace.recorded)):
                setpoints.ask(trace.begin_ns + round((i + 1) * self._period_s * 1e9), trace.recorded, i)
        for i, t_ns in enumerate(ticks.times_ns.tolist()):
            setpoints.ask(t_ns + round(self._period_s * 1e9), ticks.recorded, i)
        for message in self._parts.before(episode):
            setpoints.feed(message)
        for message in self._bag.messages(setpoints.topics, start_ns=episode.start_ns, stop_ns=episode.stop_ns):
            setpoints.feed(message)
        setpoints.answer_before(episode.stop_ns)
        setpoints.forget()

    def _observations(self, episode: Episode, traces: Sequence[ChunkTrace]) -> Iterator[tuple[ChunkTrace, Observation]]:
        """Each chunk with what the node saw when it began, as far as the bag can tell."""
        assembler, inputs = self._parts.make_assembler(), self._parts.make_inputs()
        messages = self._bag.messages(inputs.topics, start_ns=episode.start_ns, stop_ns=episode.stop_ns)
        cursor = MessageCursor(messages)
        for trace in traces:
            for message in cursor.before(trace.begin_ns + 1):
                inputs.feed(message, assembler)
            yield trace, _observed(assembler, trace)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Positions as recorded: ``(N,)`` log times, ``(N, A)`` rows, NaN where a joint was not seen yet."""

    times_ns: NDArray[np.int64]
    rows: Rows

    @classmethod
    def read(cls, bag: Bag, episode: Episode, topic: str, names: Sequence[str]) -> _Measured:
        reader = JointStateReader()
        column = {name: i for i, name in enumerate(names)}
        newest = np.full(len(names), np.nan)
        times: list[int] = []
        rows: list[Rows] = []
        for message in bag.messages([topic], start_ns=episode.start_ns, stop_ns=episode.stop_ns):
            try:
                _, seen, positions = reader.read(message.data)
            except MalformedMessage:
                continue  # the inputs say so
            for name, position in zip(seen, positions, strict=False):
                if name in column:
                    newest[column[name]] = position
            times.append(message.log_ns)
            rows.append(newest.copy())
        return cls(np.array(times, dtype=np.int64), np.array(rows).reshape(len(times), len(names)))

    def at(self, t_ns: int) -> Rows:
        """``(A,)`` at a moment; NaN before the first."""
        index = int(np.searchsorted(self.times_ns, t_ns, side="right")) - 1
        return self.rows[index] if index >= 0 else np.full(self.rows.shape[1], np.nan)


def _chunk_trace(sequence: int, chunk: HeardChunk, facts: ChunkFacts) -> ChunkTrace:
    stamps = chunk.observation_stamps_ns
    oldest, newest = min(stamps.values(), default=facts.begin_ns), max(stamps.values(), default=facts.begin_ns)
    return ChunkTrace(
        sequence=sequence,
        epoch=chunk.epoch,
        begin_ns=facts.begin_ns,
        end_ns=facts.end_ns,
        took_over_ns=chunk.took_over_ns,
        delay_steps=chunk.delay_steps,
        execution_horizon=chunk.execution_horizon,
        mode=facts.mode,
        degradation=facts.degradation,
        guided=facts.guided,
        actions=chunk.actions,
        recorded=np.full(chunk.actions.shape, np.nan),
        observation_stamps_ns=stamps,
        observation_age_s=(facts.begin_ns - oldest) * 1e-9,
        skew_s=(newest - oldest) * 1e-9,
    )


def _tick_trace(ticks: Sequence[WorkedOutTick], joints: int, measured: _Measured) -> TickTrace:
    count = len(ticks)

    def rows(values: list[Rows]) -> Rows:
        return np.array(values, dtype=np.float64).reshape(count, joints)

    return TickTrace(
        times_ns=np.array([tick.t_ns for tick in ticks], dtype=np.int64),
        states=np.array([tick.state for tick in ticks], dtype=np.uint8),
        commands=rows([tick.command for tick in ticks]),
        recorded=np.full((count, joints), np.nan),
        measured=rows([measured.at(tick.t_ns) for tick in ticks]),
        chunks=np.array(
            [tick.chunk if tick.state is ExecutionState.RUNNING else NO_CHUNK for tick in ticks], dtype=np.int64
        ),
        clamped=np.array([tick.clamped for tick in ticks], dtype=np.bool_).reshape(count, joints),
    )


def _waits(ticks: TickTrace, stop_ns: int) -> list[HoldTrace]:
    """Holds of a mode that allows no gap while it waits for a chunk."""
    starved = ticks.states == ExecutionState.STARVED
    edges = np.flatnonzero(np.diff(np.concatenate([[False], starved, [False]]).astype(np.int8)))
    times = [*ticks.times_ns.tolist(), stop_ns]
    return [
        HoldTrace(times[begin], times[end], STARVED, f"{end - begin} control steps without a row")
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def _observed(assembler: ObservationAssembler, trace: ChunkTrace) -> Observation:
    """What could be seen at its begin; where nothing can be made of the recording there, the stamps alone."""
    try:
        return assembler.assemble(trace.begin_ns)
    except ObservationError:
        stamps = trace.observation_stamps_ns
        return Observation({}, stamps, min(stamps.values(), default=trace.begin_ns))
