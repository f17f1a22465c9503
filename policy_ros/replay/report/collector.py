# SPDX-License-Identifier: Apache-2.0
"""Listens to a replay and keeps what its report needs, in memory that does not grow with the recording."""

from __future__ import annotations

import numpy as np

from policy_ros.data import Observation
from policy_ros.replay.report.horizon import HorizonSums, added
from policy_ros.replay.report.material import ReportMaterial
from policy_ros.replay.report.pictures import Picture, pictures_of
from policy_ros.replay.report.selection import picked
from policy_ros.replay.report.stretch import chunk_error, stretches
from policy_ros.replay.trace import ChunkTrace, EpisodeTrace

_PART_S = 20.0  # of an episode, of which one chunk's pictures may be kept [s]
_PICTURED = 8  # chunks of an episode whose pictures are kept until it is over


class ReportCollector:
    """A :class:`policy_ros.replay.trace.ReplayListener`."""

    def __init__(self) -> None:
        self._material = ReportMaterial()
        self._pictures = _WorstPictures()

    def chunk(self, chunk: ChunkTrace, observation: Observation) -> None:
        """Keep the pictures if the chunk is among the worst of its episode so far."""
        self._pictures.consider(chunk, observation)

    def episode(self, trace: EpisodeTrace) -> None:
        """Keep the parts of the episode that are worth looking at."""
        pictures, self._pictures = self._pictures.by_sequence(), _WorstPictures()
        sums = (self._material.horizon, HorizonSums.of_episode(trace.joint_names, trace.chunks))
        self._material = ReportMaterial(
            picks=picked(self._material.picks, stretches(trace, pictures)),
            horizon=added(each for each in sums if each is not None),
            episodes=self._material.episodes + 1,
        )

    def material(self) -> ReportMaterial:
        """What was kept so far."""
        return self._material


class _WorstPictures:
    """What the policy saw at the worst chunks of one episode, of not more than one for each part of it."""

    def __init__(self) -> None:
        self._origin_ns: int | None = None
        self._kept: dict[int, tuple[float, int, tuple[Picture, ...]]] = {}  # part to error, sequence, pictures

    def consider(self, chunk: ChunkTrace, observation: Observation) -> None:
        """Encode and keep the pictures, if they belong here."""
        error = chunk_error(chunk)
        if error is None:
            return
        if self._origin_ns is None:
            self._origin_ns = chunk.begin_ns
        part, score = int((chunk.begin_ns - self._origin_ns) * 1e-9 // _PART_S), float(np.nanmean(error))
        if score > self._bar(part):
            self._kept[part] = (score, chunk.sequence, pictures_of(observation, chunk.begin_ns))
            if len(self._kept) > _PICTURED:
                del self._kept[min(self._kept, key=lambda each: self._kept[each][0])]

    def by_sequence(self) -> dict[int, tuple[Picture, ...]]:
        """Sequence of a chunk to its pictures."""
        return {sequence: pictures for _, sequence, pictures in self._kept.values()}

    def _bar(self, part: int) -> float:
        """The error above which a chunk of this part is kept."""
        if part in self._kept:
            return self._kept[part][0]
        return min(each[0] for each in self._kept.values()) if len(self._kept) == _PICTURED else -1.0
