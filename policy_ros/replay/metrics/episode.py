# SPDX-License-Identifier: Apache-2.0
"""One replayed episode as sums, counts and peaks, of which metrics over many are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy_ros.replay.metrics.alignment import AlignmentMetrics
from policy_ros.replay.metrics.grid import on_grid
from policy_ros.replay.metrics.motion import PeakMetrics, SeamMetrics
from policy_ros.replay.metrics.pictures import PictureMetrics
from policy_ros.replay.metrics.prediction import PredictionMetrics
from policy_ros.replay.metrics.running import ChunkMetrics, RunMetrics
from policy_ros.replay.metrics.sums import ErrorSums
from policy_ros.replay.trace import EpisodeTrace


@dataclass(frozen=True)
class EpisodeMetrics:
    """What is kept of an :class:`EpisodeTrace`: a few kilobytes, whatever its length. All numbers are finite.

    Attributes:
        bag: name of the bag's directory or file.
        index: number of the episode, as recorded.
        start_ns: log time of its begin [ns].
        stop_ns: log time of its end [ns].
        task: in words; may be empty.
        success: of what was recorded; None: nobody said.
        joint_names: A names.
        dt_s: control period [s].
        mode: of execution, as chosen.
        has_commands: whether the recording has commands to compare with.
        prediction: chunks against recorded commands.
        alignment: the same at other times and as other joints.
        executed: executed commands against recorded ones, by joint.
        seams: of the executed commands.
        peaks: of the executed commands.
        recorded_peaks: of the recorded ones.
        chunks: inferences.
        run: ticks.
        pictures: beside those that the policy was trained on.
        problems: what is wrong with this episode, one line each.
    """

    bag: str
    index: int
    start_ns: int
    stop_ns: int
    task: str
    success: bool | None
    joint_names: tuple[str, ...]
    dt_s: float
    mode: str
    has_commands: bool
    prediction: PredictionMetrics
    alignment: AlignmentMetrics
    executed: ErrorSums
    seams: SeamMetrics
    peaks: PeakMetrics
    recorded_peaks: PeakMetrics
    chunks: ChunkMetrics
    run: RunMetrics
    pictures: PictureMetrics
    problems: tuple[str, ...]

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells an episode from all others: bag, index, begin."""
        return self.bag, self.index, self.start_ns

    def as_json(self) -> dict[str, Any]:
        """For ``json.dumps``."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> EpisodeMetrics:
        """From what :meth:`as_json` made, be it after a way through JSON.

        Raises:
            KeyError, TypeError: a part is missing or of another type.
        """
        return EpisodeMetrics(
            **{
                **value,
                "joint_names": tuple(value["joint_names"]),
                "prediction": PredictionMetrics.from_json(value["prediction"]),
                "alignment": AlignmentMetrics.from_json(value["alignment"]),
                "executed": ErrorSums.from_json(value["executed"]),
                "seams": SeamMetrics.from_json(value["seams"]),
                "peaks": PeakMetrics.from_json(value["peaks"]),
                "recorded_peaks": PeakMetrics.from_json(value["recorded_peaks"]),
                "chunks": ChunkMetrics.from_json(value["chunks"]),
                "run": RunMetrics.from_json(value["run"]),
                "pictures": PictureMetrics.from_json(value["pictures"]),
                "problems": tuple(value["problems"]),
            }
        )


def measure(trace: EpisodeTrace) -> EpisodeMetrics:
    """The metrics of one episode; docs/replay-metrics.md has the formulas."""
    grid = on_grid(trace)
    episode = trace.episode
    return EpisodeMetrics(
        bag=episode.bag_path.name,
        index=episode.index,
        start_ns=episode.start_ns,
        stop_ns=episode.stop_ns,
        task=episode.task,
        success=episode.success,
        joint_names=trace.joint_names,
        dt_s=trace.dt_s,
        mode=trace.mode,
        has_commands=trace.has_commands,
        prediction=PredictionMetrics.of(trace.chunks, len(trace.joint_names)),
        alignment=AlignmentMetrics.of(grid, trace.dt_s),
        executed=ErrorSums.of(grid.commands - grid.recorded, axis=1),
        seams=SeamMetrics.of(grid),
        peaks=PeakMetrics.of(grid.commands, trace.dt_s),
        recorded_peaks=PeakMetrics.of(grid.recorded, trace.dt_s),
        chunks=ChunkMetrics.of(trace),
        run=RunMetrics.of(trace, grid),
        pictures=PictureMetrics.of(trace.pictures),
        problems=trace.problems,
    )
