# SPDX-License-Identifier: Apache-2.0
"""One episode of a recording through the live assembler, executor, strategy and gate, on the recording's own clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from policy_ros.bags import BagMessage, Episode
from policy_ros.data import Observation
from policy_ros.execution import ChunkExecutor, ControlStep, ExecutionState, HoldCause, VirtualDrive
from policy_ros.observation import NotReady
from policy_ros.policies.seeded import SeededPolicy
from policy_ros.replay.cursor import MessageCursor
from policy_ros.replay.parts import ReplayParts
from policy_ros.replay.pending import PendingChunks
from policy_ros.replay.pictures import PictureAverages
from policy_ros.replay.recorder import HoldRecorder, TickRecorder
from policy_ros.replay.trace import NO_CHUNK, ChunkTrace, EpisodeTrace, ReplayListener

_COUNTERS = (
    "chunks",
    "chunks_late",
    "chunks_guided",
    "chunks_rejected",
    "inference_errors",
    "commands",
    "holds",
    "holds_after_first_chunk",
    "gate_clamped",
    "gate_rejected",
)
_NOISE, _DELAYS = range(2)  # random streams of an episode
_SAME_JUMP_NS = 1_000_000_000  # each topic gives a jump of the clock away with its next message


class EpisodeReplay:
    """A robot that does what it did when it was recorded, whatever it is told: a dry run of the policy.

    Args:
        episode: which part of the recording.
        parts: what it is replayed with.
        cursor: the recording, not read beyond the begin of the episode.
        listener: is told of chunks.
        progress: called with the log time reached, now and then [ns].
    """

    def __init__(
        self,
        episode: Episode,
        parts: ReplayParts,
        cursor: MessageCursor,
        listener: ReplayListener,
        progress: Callable[[int], None],
    ) -> None:
        self._episode, self._parts, self._cursor = episode, parts, cursor
        self._listener, self._progress = listener, progress
        self._assembler = parts.make_assembler()
        self._assembler.set_task(parts.options.parameters.policy.prompt or episode.task or None)
        self._setpoints = parts.setpoints
        self._setpoints.begin()
        self._period_ns = round(parts.config.period_s * 1e9)
        self._ticks = TickRecorder(len(parts.scaling.names), self._setpoints, parts.config.period_s)
        self._holds = HoldRecorder()
        self._chunks: list[ChunkTrace] = []
        self._pending = PendingChunks(
            self._setpoints,
            parts.scaling,
            horizon=parts.policy.config.chunk_size,
            dt_s=parts.config.period_s,
            finished=self._on_chunk,
        )
        self._pictures = PictureAverages(parts.trained_pictures)
        self._not_ready: Counter[str] = Counter()
        self._acting = NO_CHUNK
        self._deadline_misses = self._jumps = self._resets = 0
        self._jumped_ns = -_SAME_JUMP_NS
        self._over = False
        self._drive: VirtualDrive | None = None

    def run(self) -> EpisodeTrace:
        """From the begin of the episode to its end."""
        for message in self._parts.before(self._episode):
            self._setpoints.feed(message)
        origin_ns = self._wait_for_streams()
        problems: tuple[str, ...] = ()
        if origin_ns is None:
            silent = ", ".join(self._assembler.missing())
            problems = (f"episode {self._episode.index}: expected samples of {silent}, got none; nothing was replayed",)
        else:
            self._replay(origin_ns)
        self._feed(self._episode.stop_ns)
        self._setpoints.answer_before(self._episode.stop_ns)
        self._setpoints.forget()
        self._pending.flush()
        return self._trace(problems)

    def _wait_for_streams(self) -> int | None:
        """Log time at which every stream was there, as the node waits for on activation; None if that never came."""
        for message in self._cursor.before(self._episode.stop_ns):
            self._take(message)
            if not self._assembler.missing():
                return message.log_ns
        return None

    def _replay(self, origin_ns: int) -> None:
        parts, options = self._parts, self._parts.options
        episode_seed = [options.seed, self._episode.start_ns]
        self._drive = drive = VirtualDrive(
            self,
            SeededPolicy(parts.policy, np.random.default_rng([*episode_seed, _NOISE])),
            parts.durations(np.random.default_rng([*episode_seed, _DELAYS])),
            strategy=parts.make_strategy(),
            gate=parts.gate,
            scaling=parts.scaling,
            config=parts.config,
            start_ns=origin_ns,
            forgiving=True,
        )
        self._step = ControlStep(self._assembler, drive.executor, parts.measured_order, dry_run=True)
        self._over = origin_ns + self._period_ns >= self._episode.stop_ns
        drive.run()
        self._pending.match(drive.inferences)

    # What the drive asks of a robot

    @property
    def over(self) -> bool:
        """Whether the next tick would be after the end."""
        return self._over

    def observe(self, now_ns: int) -> Observation:
        """As the node would have at this moment of the recording."""
        assert self._drive is not None  # it asks
        self._pending.match(self._drive.inferences)
        self._feed(now_ns + 1)
        try:
            observation = self._assembler.assemble(now_ns)
        except NotReady as error:
            self._not_ready[f"{error.stream} {error.cause.value}"] += 1
            raise
        self._pending.begin(observation, now_ns)
        self._pictures.add(observation)
        return observation

    def tick(self, executor: ChunkExecutor, now_ns: int) -> None:
        """The node's control tick, in a dry run."""
        assert self._drive is not None  # it asks
        self._pending.match(self._drive.inferences)
        self._feed(now_ns + 1)
        self._reset_when_due(executor, now_ns)
        tick = self._step(now_ns)
        if tick.chunk is not None:
            self._acting = self._pending.took_over(tick.chunk, now_ns)
        self._ticks.add(now_ns, tick, self._acting, self._step.measured)
        stands = tick.state in (ExecutionState.HOLDING, ExecutionState.STARVED)
        self._holds.see(executor.hold_in_force if stands else None, now_ns)
        self._deadline_misses += tick.state is ExecutionState.STARVED and self._parts.gapless
        self._pending.hand_over(now_ns)
        self._over = now_ns + self._period_ns >= self._episode.stop_ns
        self._progress(now_ns)

    def _reset_when_due(self, executor: ChunkExecutor, now_ns: int) -> None:
        """What an operator would do about a hold that only a reset ends."""
        hold, after_s = self._holds.current, self._parts.options.reset_after_s
        if hold is None or after_s is None or not hold.cause.latched:
            return
        if (now_ns - self._holds.since_ns) * 1e-9 >= after_s:
            self._assembler.forgive()
            executor.reset("replay goes on after a hold")
            self._resets += 1

    def _feed(self, before_ns: int) -> None:
        for message in self._cursor.before(min(before_ns, self._episode.stop_ns)):
            self._take(message)

    def _take(self, message: BagMessage) -> None:
        self._setpoints.feed(message)
        jump = self._parts.inputs.feed(message, self._assembler)  # forgets what came before a jump
        if jump is None:
            return
        self._jumps += message.log_ns - self._jumped_ns > _SAME_JUMP_NS
        self._jumped_ns = message.log_ns
        if self._drive is not None:
            detail = f"'{jump.topic}' jumped back by {jump.back_s:.3f} s"
            self._drive.executor.hold(HoldCause.CLOCK_JUMP, detail)

    def _on_chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        self._chunks.append(chunk)
        self._listener.chunk(chunk, observation)

    def _trace(self, problems: tuple[str, ...]) -> EpisodeTrace:
        parts = self._parts
        status = None if self._drive is None else self._drive.executor.status()
        counters = {name: 0 if status is None else int(getattr(status, name)) for name in _COUNTERS}
        return EpisodeTrace(
            episode=self._episode,
            joint_names=parts.scaling.names,
            dt_s=parts.config.period_s,
            mode=parts.config.mode,
            ticks=self._ticks.trace(),
            chunks=tuple(self._chunks),
            holds=self._holds.trace(self._episode.stop_ns),
            counters={**counters, "resets": self._resets},
            deadline_misses=self._deadline_misses,
            not_ready=dict(self._not_ready),
            jumps=self._jumps,
            has_commands=parts.has_commands,
            problems=problems,
            pictures=self._pictures.trace(),
        )

    @property
    def compute_s(self) -> list[float]:
        """What each inference took here, in real time [s]."""
        return [] if self._drive is None else [each.compute_s for each in self._drive.inferences]
