# SPDX-License-Identifier: Apache-2.0
"""From what a node published during an episode to the values that an offline replay gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Bag, BagInputs, CommandTracks, Episode
from policy_ros.bags.inputs import JOINT_STATE
from policy_ros.data import Observation
from policy_ros.errors import ObservationError
from policy_ros.execution import ExecutionState, Strategy, make_strategy
from policy_ros.observation import ObservationAssembler
from policy_ros.parameters import build
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.config import PolicyConfig
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace, HoldTrace, ReplayListener, TickTrace
from policy_ros.ros.images import make_decoder
from policy_ros.ros.replay.bag_pass import BagPass
from policy_ros.ros.replay.heard import HeardChunk, HeardStatus
from policy_ros.ros.replay.reconstruction import HeldPeriod, Reconstruction, WorkedOutTick
from policy_ros.ros.replay.status_facts import (
    STARVED,
    ChunkFacts,
    chunk_facts,
    counted,
    counts_before,
    holds_of,
    lost,
    while_active,
)

Rows = NDArray[np.float64]


class TraceBuilder:
    """Makes the traces of one bag.

    Args:
        bag: what was played.
        parameters: of the node.
        config: of its policy.
        namespace: in which relative topics lie in the bag.
        action_topic: JointState topic of a leader arm, in place of the outputs' commands.

    Attributes:
        topics: that the node's inputs have in the bag.

    Raises:
        BagError: the bag lacks a topic, or has it with another type.
        ConfigurationError: parameters that do not fit the policy or each other.
    """

    def __init__(
        self,
        bag: Bag,
        parameters: NodeParameters,
        config: PolicyConfig,
        *,
        namespace: str = "/",
        action_topic: str | None = None,
    ) -> None:
        policy = _Configured(config)
        self._bag = bag
        self._parameters = build.with_cameras_of(parameters, policy)
        build.check_joints(self._parameters, policy)
        self._config = config
        self._observation = build.observation_config(self._parameters, policy)
        self._order = build.measured_order(self._parameters)
        self._namespace = namespace
        self._action_topic = action_topic
        self._period_ns = round(1e9 / parameters.execution.rate_hz)
        # Both refuse what cannot be replayed, and it is to be said before anything is played.
        self.topics = self._inputs().topics
        self._tracks()

    def tell(
        self,
        episode: Episode,
        chunks: Sequence[HeardChunk],
        statuses: Sequence[HeardStatus],
        listener: ReplayListener,
        *,
        urdf: str | None = None,
        problems: Sequence[str] = (),
    ) -> EpisodeTrace:
        """Tell the listener what happened in an episode.

        Args:
            episode: which.
            chunks: those that took over during it.
            statuses: from before its start to its end.
            listener: told of the chunks in their order, then of the episode.
            urdf: robot description, where the gate uses it.
            problems: found while it was played.
        """
        active = [each for each in while_active(statuses) if each.stamp_ns >= episode.start_ns]
        before = counts_before(statuses, episode.start_ns)
        facts = chunk_facts(chunks, active, before)
        holds = holds_of(active, episode.stop_ns)
        measured = _Measured.read(self._bag, episode, self._inputs(), self._assembler(), self._order)
        ticks = self._ticks(chunks, facts, holds, active, measured, episode, urdf)
        gapless = self._strategy().gapless
        if gapless:
            holds = sorted([*holds, *_waits(ticks, episode.stop_ns)], key=lambda hold: hold.begin_ns)
        traces = tuple(_chunk_trace(i, *each) for i, each in enumerate(zip(chunks, facts, strict=True)))
        self._fill_in_setpoints(episode, traces, ticks)
        for trace, observation in self._observations(episode, traces):
            listener.chunk(trace, observation)
        result = EpisodeTrace(
            episode=episode,
            joint_names=self._parameters.joints.names,
            dt_s=1.0 / self._parameters.execution.rate_hz,
            mode=self._parameters.execution.mode,
            ticks=ticks,
            chunks=traces,
            holds=tuple(holds),
            counters={**counted(active, before), "resets": 0},
            deadline_misses=int(np.sum(ticks.states == ExecutionState.STARVED)) if gapless else 0,
            has_commands=bool(np.isfinite(ticks.recorded).any()),
            problems=(*problems, *lost(chunks)),
        )
        listener.episode(result)
        return result

    def _ticks(
        self,
        chunks: Sequence[HeardChunk],
        facts: Sequence[ChunkFacts],
        holds: Sequence[HoldTrace],
        active: Sequence[HeardStatus],
        measured: _Measured,
        episode: Episode,
        urdf: str | None,
    ) -> TickTrace:
        reconstruction = Reconstruction(
            self._strategy(),
            build.make_gate(self._parameters, urdf),
            period_ns=self._period_ns,
            joints=len(self._parameters.joints.names),
            lookahead=self._parameters.execution.lookahead_steps,
            measured=measured.at,
        )
        ticks = reconstruction.ticks(
            chunks,
            [each.guided for each in facts],
            [HeldPeriod(hold.begin_ns, hold.end_ns) for hold in holds],
            active[0].stamp_ns if active else episode.stop_ns,
            episode.stop_ns,
        )
        return _tick_trace(ticks, len(self._parameters.joints.names), measured)

    def _fill_in_setpoints(self, episode: Episode, traces: Sequence[ChunkTrace], ticks: TickTrace) -> None:
        """What the robot's controllers had been told at the time of every row and every tick."""
        tracks = self._tracks()
        if tracks is None:
            return
        way = BagPass(self._bag, episode)

        def look(row: Rows, t_ns: int) -> Callable[[], None]:
            def read() -> None:
                setpoint = tracks.setpoint(t_ns)
                if setpoint is not None:
                    row[:] = setpoint

            return read

        for trace in traces:
            for i, row in enumerate(trace.recorded):
                t_ns = trace.begin_ns + (i + 1) * self._period_ns
                way.at(t_ns, look(row, t_ns))
        for row, t_ns in zip(ticks.recorded, ticks.times_ns.tolist(), strict=True):
            way.at(t_ns + self._period_ns, look(row, t_ns + self._period_ns))
        way.run(tracks.topics, tracks.feed)

    def _observations(self, episode: Episode, traces: Sequence[ChunkTrace]):
        """Each chunk with what the node saw when it began, as the bag has it."""
        inputs, assembler = self._inputs(), self._assembler()
        found: list[tuple[ChunkTrace, Observation]] = []
        way = BagPass(self._bag, episode)
        for trace in traces:
            way.at(trace.begin_ns, lambda trace=trace: found.append((trace, _observed(assembler, trace))))
        for _ in way.steps(inputs.topics, lambda message: inputs.feed(message, assembler)):
            yield from found
            found.clear()

    def _strategy(self) -> Strategy:
        config = self._config
        return make_strategy(
            build.execution_config(self._parameters),
            horizon=config.chunk_size,
            n_action_steps=config.n_action_steps,
            supports_guidance=config.supports_guidance,
        )

    def _inputs(self) -> BagInputs:
        return BagInputs(self._parameters, self._observation, self._bag, namespace=self._namespace)

    def _assembler(self) -> ObservationAssembler:
        return ObservationAssembler(self._observation, make_decoder())

    def _tracks(self) -> CommandTracks:
        return CommandTracks(
            self._parameters, self._bag, namespace=self._namespace, action_topic=self._action_topic
        )


@dataclass(frozen=True)
class _Configured:
    """Of a policy, what the wiring asks for."""

    config: PolicyConfig


@dataclass(frozen=True, eq=False)
class _Measured:
    """Positions as recorded: ``(N,)`` log times, ``(N, A)`` rows."""

    times_ns: NDArray[np.int64]
    rows: Rows

    @classmethod
    def read(
        cls, bag: Bag, episode: Episode, inputs: BagInputs, assembler: ObservationAssembler, order: Sequence[int]
    ) -> _Measured:
        topics = [topic for topic in inputs.topics if bag.topics[topic].type == JOINT_STATE]
        times: list[int] = []
        rows: list[Rows] = []
        for message in bag.messages(topics, start_ns=episode.start_ns, stop_ns=episode.stop_ns):
            inputs.feed(message, assembler)
            positions = assembler.joint_positions()
            if positions is not None:
                times.append(message.log_ns)
                rows.append(positions[list(order)])
        return cls(np.array(times, dtype=np.int64), np.array(rows).reshape(len(times), len(order)))

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
        chunks=np.array([tick.chunk for tick in ticks], dtype=np.int64),
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
