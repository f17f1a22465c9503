# SPDX-License-Identifier: Apache-2.0
"""Which stretches are worth looking at: a few for each reason, whatever the order in which they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from policy_ros.replay.report.stretch import Stretch

Picks = Mapping[str, tuple[Stretch, ...]]  # name of a reason to its stretches, best first

TYPICAL = "typical"


@dataclass(frozen=True)
class Reason:
    """Why a stretch is looked at.

    Attributes:
        name: of the reason.
        keep: so many stretches.
        score: a larger one is kept; None: the stretch does not qualify.
    """

    name: str
    keep: int
    score: Callable[[Stretch], float | None]


def _error(stretch: Stretch) -> float | None:
    return None if stretch.worst is None else stretch.worst.error


def _closest(stretch: Stretch) -> float | None:
    return None if stretch.worst is None else -stretch.worst.error


def _held(stretch: Stretch) -> float | None:
    return stretch.held_s if stretch.holds else None


def _seam(stretch: Stretch) -> float | None:
    return stretch.seam_jump if stretch.seam_jump > 0.0 else None


def _clamped(stretch: Stretch) -> float | None:
    return float(stretch.clamped.sum()) if stretch.clamped.any() else None


def _lot(stretch: Stretch) -> float:
    """Drawn by lot, the same for the same recording."""
    digest = hashlib.blake2b(repr(stretch.key).encode(), digest_size=6).digest()
    return float(int.from_bytes(digest, "little"))


REASONS = (
    Reason("furthest from the recording", 4, _error),
    Reason("longest on hold", 2, _held),
    Reason("largest jump at a seam", 1, _seam),
    Reason("most often clamped by the gate", 1, _clamped),
    Reason(TYPICAL, 7, _lot),  # of which one will be drawn
    Reason("closest to the recording", 1, _closest),
)


def picked(picks: Picks, stretches: Iterable[Stretch]) -> dict[str, tuple[Stretch, ...]]:
    """What is kept once these stretches are considered as well."""
    chosen = dict(picks)
    for stretch in stretches:
        for reason in REASONS:
            if reason.score(stretch) is not None:
                ranked = sorted((*chosen.get(reason.name, ()), stretch), key=lambda each: _rank(reason, each))
                chosen[reason.name] = tuple(ranked[: reason.keep])
    return chosen


def drawn(picks: Picks) -> list[tuple[Stretch, list[str]]]:
    """The stretches to draw, each once, with all the reasons for it, in the order of reasons."""
    found: dict[tuple[str, int, float], tuple[Stretch, list[str]]] = {}
    for reason in REASONS:
        kept = picks.get(reason.name, ())
        for stretch in _median(kept) if reason.name == TYPICAL else kept:
            found.setdefault(stretch.key, (stretch, []))[1].append(reason.name)
    return list(found.values())


def _rank(reason: Reason, stretch: Stretch) -> tuple[float, tuple[str, int, float]]:
    return -(reason.score(stretch) or 0.0), stretch.key


def _median(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """The one whose error is in the middle of a random few."""
    ranked = sorted(stretches, key=lambda each: (_error(each) or 0.0, each.key))
    return tuple(ranked[len(ranked) // 2 :][:1])
