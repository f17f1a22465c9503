# SPDX-License-Identifier: Apache-2.0
"""What is kept of a replay for its report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from policy_ros.replay.report.horizon import HorizonSums, added
from policy_ros.replay.report.selection import Picks, picked
from policy_ros.replay.report.stretch import Stretch


@dataclass(frozen=True)
class ReportMaterial:
    """What was kept of some episodes, of one bag or of many; can be pickled, and its size is bounded.

    Attributes:
        picks: stretches worth looking at, by reason.
        horizon: errors by row of the chunk; None without a chunk.
        episodes: how many were seen.
    """

    picks: Picks = field(default_factory=dict)
    horizon: HorizonSums | None = None
    episodes: int = 0


def merge(materials: Iterable[ReportMaterial]) -> ReportMaterial:
    """What was kept of all of them; their order changes no more than the rounding of sums.

    Takes one after the other, so that a generator over many bags holds one of them in memory.
    """
    whole = ReportMaterial()
    for each in materials:
        whole = _both(whole, each)
    return whole


def _both(one: ReportMaterial, other: ReportMaterial) -> ReportMaterial:
    return ReportMaterial(
        picks=picked(one.picks, _stretches(other.picks)),
        horizon=added(each.horizon for each in (one, other) if each.horizon is not None),
        episodes=one.episodes + other.episodes,
    )


def _stretches(picks: Picks) -> Iterable[Stretch]:
    """All of them, each once."""
    return {stretch.key: stretch for kept in picks.values() for stretch in kept}.values()
