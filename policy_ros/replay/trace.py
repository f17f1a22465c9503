# SPDX-License-Identifier: Apache-2.0
"""What happened when a policy was replayed on one episode of a recording.

Times are log times of the bag [ns]. A is the number of commanded joints, in the order of ``joint_names``; positions
are in robot units [rad, m].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy_ros.bags import Episode
from policy_ros.data import Observation

NO_CHUNK = -1  # in TickTrace.chunks


@dataclass(frozen=True, eq=False)
class ChunkTrace:
    """One inference that came to a result.

    Attributes:
        sequence: running number within the episode, from 0.
        epoch: of the execution.
        begin_ns: when the observation was taken.
        end_ns: when the result was there; ``begin_ns`` plus the delay of the inference.
        took_over_ns: the tick that executed its first row; None: none of its rows was executed.
        delay_steps: d, rows that had passed when it took over [steps].
        execution_horizon: s, steps since the inference before [steps].
        mode: what acted (``rtc``, or what that was degraded to).
        degradation: why that is not the mode that was chosen; empty where it is.
        guided: whether it was guided to continue the chunk before.
        actions: ``(H, A)`` float32, what the policy answered.
        recorded: ``(H, A)`` float64, what the robot's controllers had been told at the time of each row,
            ``begin_ns + (i + 1) * dt``; NaN where nobody commanded, and from the end of the episode on.
        observation_stamps_ns: stream to the stamp of the newest sample used.
        observation_age_s: age of the oldest of these when the inference began [s].
        skew_s: between the oldest and the newest of these [s].
    """

    sequence: int
    epoch: int
    begin_ns: int
    end_ns: int
    took_over_ns: int | None
    delay_steps: int
    execution_horizon: int
    mode: str
    degradation: str
    guided: bool
    actions: NDArray[np.float32]
    recorded: NDArray[np.float64]
    observation_stamps_ns: Mapping[str, int]
    observation_age_s: float
    skew_s: float

    @property
    def latency_s(self) -> float:
        """How long the inference lasted on the clock of the replay [s]."""
        return (self.end_ns - self.begin_ns) * 1e-9


@dataclass(frozen=True, eq=False)
class TickTrace:
    """The control ticks of an episode, one row each.

    Attributes:
        times_ns: ``(N,)`` int64.
        states: ``(N,)`` uint8, :class:`policy_ros.execution.ExecutionState`.
        commands: ``(N, A)`` float64, what would have been commanded, behind the gate; NaN where nothing would.
        recorded: ``(N, A)`` float64, what the controllers had been told for that moment, ``times_ns`` plus the lead of
            one period; NaN where nobody commanded.
        measured: ``(N, A)`` float64, positions as recorded; NaN where not measured.
        chunks: ``(N,)`` int64, sequence of the newest chunk that acted; NO_CHUNK where none did.
        clamped: ``(N, A)`` bool, whether the gate changed the command.
    """

    times_ns: NDArray[np.int64]
    states: NDArray[np.uint8]
    commands: NDArray[np.float64]
    recorded: NDArray[np.float64]
    measured: NDArray[np.float64]
    chunks: NDArray[np.int64]
    clamped: NDArray[np.bool_]


@dataclass(frozen=True)
class HoldTrace:
    """One hold.

    Attributes:
        begin_ns: the tick that entered it.
        end_ns: the tick that left it; the end of the episode for one that was in force then.
        cause: name of a :class:`policy_ros.execution.HoldCause`.
        detail: one line with the facts.
    """

    begin_ns: int
    end_ns: int
    cause: str
    detail: str


@dataclass(frozen=True, eq=False)
class PictureTrace:
    """The pictures of one camera that chunks were computed from.

    Attributes:
        feature: key of the camera's feature.
        count: how many pictures.
        mean: ``(3,)`` of red, green and blue, 0 to 1.
        trained_mean: ``(3,)`` of what the policy was trained on; None: the checkpoint does not say.
        trained_std: ``(3,)`` deviation of single pixels likewise.
    """

    feature: str
    count: int
    mean: NDArray[np.float64]
    trained_mean: NDArray[np.float64] | None
    trained_std: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class EpisodeTrace:
    """One episode.

    Attributes:
        episode: which, and from when to when.
        joint_names: A names.
        dt_s: control period [s].
        mode: of execution, as chosen.
        ticks: from the first moment when every stream was there.
        chunks: in the order of their begin.
        holds: in the order of their begin; also waiting for a chunk where a mode allows no gap (``STARVED``).
        counters: of the execution, named as in ``PolicyStatus.msg``: ``chunks``, ``chunks_late``, ``chunks_guided``,
            ``chunks_rejected``, ``inference_errors``, ``commands``, ``holds``, ``holds_after_first_chunk``,
            ``gate_clamped``, ``gate_rejected``; and ``resets``, the holds that the replay itself ended.
        deadline_misses: ticks at which a row was due and none was there, in a mode that allows no gap.
        not_ready: why no observation could be had when one was wanted, and how often.
        jumps: how often the recording's clock jumped back.
        has_commands: whether the recording has commands to compare with.
        problems: what is wrong with this episode, one line each.
        pictures: of each camera; none where no observation was made.
    """

    episode: Episode
    joint_names: tuple[str, ...]
    dt_s: float
    mode: str
    ticks: TickTrace
    chunks: tuple[ChunkTrace, ...]
    holds: tuple[HoldTrace, ...]
    counters: Mapping[str, int]
    deadline_misses: int = 0
    not_ready: Mapping[str, int] = field(default_factory=dict)
    jumps: int = 0
    has_commands: bool = True
    problems: tuple[str, ...] = ()
    pictures: tuple[PictureTrace, ...] = ()

    @property
    def duration_s(self) -> float:
        """Of the episode, as recorded [s]."""
        return (self.episode.stop_ns - self.episode.start_ns) * 1e-9


class ReplayListener(Protocol):
    """Who is told what happens, in the order of time."""

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        """A chunk whose ``recorded`` rows are known by now, and what it was computed from. Keep few of them."""

    def episode(self, trace: EpisodeTrace) -> None:
        """An episode is over; its chunks are the same objects."""
