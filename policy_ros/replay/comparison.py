# SPDX-License-Identifier: Apache-2.0
"""Two replays of the same recordings: what the second does better or worse; docs/replay-metrics.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.replay.metrics import DEFINITIONS, Better, EpisodeMetrics, Value
from policy_ros.replay.metrics.bootstrap import FloatArray, percentile_interval, resamples
from policy_ros.replay.metrics.estimators import Estimator
from policy_ros.replay.metrics.pool import Pool
from policy_ros.replay.metrics.rounding import rounded_or_none
from policy_ros.replay.result import ReplayResult
from policy_ros.replay.writing import METRICS

_LISTED = 8  # episodes in one line


class ComparisonError(PolicyRosError):
    """Two results cannot be read, or say nothing about each other."""


class Verdict(Enum):
    """What the interval of a difference says about B."""

    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"  # neither way is better
    UNCLEAR = "no clear difference"  # the interval contains 0
    NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class MetricComparison:
    """One metric of both.

    Attributes:
        name: dotted.
        a: of A.
        b: of B.
        difference: B - A, with the interval of the paired difference.
        verdict: on B.
    """

    name: str
    a: Value
    b: Value
    difference: Value
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Two replays, over the episodes that both have.

    Attributes:
        episodes: how many were compared.
        notes: what was left out, or makes the two differ beside what was to be compared; one line each.
        metrics: in the order of the registry.
        seed: of the bootstrap.
    """

    episodes: int
    notes: tuple[str, ...]
    metrics: tuple[MetricComparison, ...]
    seed: int

    def values(self) -> Mapping[str, Value]:
        """For conditions: ``A.mae``, ``B.mae``, ``difference.mae``, and ``mae``, which is the difference too."""
        named: dict[str, Value] = {}
        for metric in self.metrics:
            named |= {f"A.{metric.name}": metric.a, f"B.{metric.name}": metric.b}
            named |= {f"difference.{metric.name}": metric.difference, metric.name: metric.difference}
        return named

    def as_json(self) -> dict[str, Any]:
        """For ``json.dumps``."""
        return {
            "episodes": self.episodes,
            "notes": list(self.notes),
            "seed": self.seed,
            "metrics": {
                metric.name: {
                    "A": asdict(metric.a),
                    "B": asdict(metric.b),
                    "difference": asdict(metric.difference),
                    "verdict": metric.verdict.value,
                }
                for metric in self.metrics
            },
        }


def read_result(path: Path) -> ReplayResult:
    """What a replay wrote: its output directory, or the ``metrics.json`` in it.

    Raises:
        ComparisonError: there is none, or it cannot be read.
    """
    file = path / METRICS if path.is_dir() else path
    try:
        return ReplayResult.from_json(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ComparisonError(f"{file}: expected {METRICS} of `policy-ros replay --out`, got no such file") from None
    except (OSError, ValueError, ConfigurationError) as error:
        raise ComparisonError(f"{file}: {error}") from None


def compare(a: ReplayResult, b: ReplayResult, *, seed: int = 0) -> Comparison:
    """B against A, episode by episode: both are resampled with the same episodes, so that what makes an episode hard
    for both cancels.

    Raises:
        ComparisonError: bags, joints or control periods differ, or no episode is in both.
    """
    _require_same_bags(a, b)
    pairs, notes = _pair(a.episodes, b.episodes)
    one, other = _pool("A", [first for first, _ in pairs]), _pool("B", [second for _, second in pairs])
    _require_same_robot(one, other)
    if one.horizon != other.horizon:
        notes.append(
            f"chunks have {one.horizon} rows in A and {other.horizon} in B: @H, and errors over all rows, are of "
            "different rows"
        )
    weights = resamples(len(pairs), seed) if len(pairs) > 1 else None
    metrics = []
    for definition in DEFINITIONS:
        for name, key in definition.expand(one.joint_names):
            estimators = definition.make(one, key), definition.make(other, key)
            first, second, difference = _values(estimators, definition.unit, len(pairs), weights)
            verdict = _verdict(difference, definition.better)
            metrics.append(MetricComparison(name, first, second, difference, verdict))
    return Comparison(len(pairs), tuple(notes), tuple(metrics), seed)


def _require_same_bags(a: ReplayResult, b: ReplayResult) -> None:
    one, other = ({Path(bag.path).name for bag in result.bags} for result in (a, b))
    if one != other:
        only = [
            f"only in {side}: {', '.join(sorted(names))}" for side, names in (("A", one - other), ("B", other - one))
        ]
        there = "; ".join(line for line, names in zip(only, (one - other, other - one), strict=True) if names)
        raise ComparisonError(f"expected replays of the same bags, got {there}; replay both on the same ones")


def _pair(
    a: Sequence[EpisodeMetrics], b: Sequence[EpisodeMetrics]
) -> tuple[list[tuple[EpisodeMetrics, EpisodeMetrics]], list[str]]:
    """Episodes that both have, and a line for each bag of which one has more."""
    one, other = _by_key("A", a), _by_key("B", b)
    notes = [*_only("A", one.keys() - other.keys()), *_only("B", other.keys() - one.keys())]
    pairs = [(one[key], other[key]) for key in sorted(one.keys() & other.keys())]
    if not pairs:
        raise ComparisonError(
            f"expected episodes that are in both replays, got {len(one)} in A and {len(other)} in B with no bag, index "
            "and begin in common"
        )
    return pairs, notes


def _only(side: str, keys: Iterable[tuple[str, int, int]]) -> list[str]:
    indices: dict[str, list[str]] = {}
    for bag, index, _ in sorted(keys):
        indices.setdefault(bag, []).append(str(index))
    lines = []
    for bag, found in indices.items():
        listed = ", ".join(found[:_LISTED]) + (", …" if len(found) > _LISTED else "")
        lines.append(f"left out, only in {side}: {len(found)} of the episodes of {bag} ({listed})")
    return lines


def _by_key(side: str, episodes: Sequence[EpisodeMetrics]) -> dict[tuple[str, int, int], EpisodeMetrics]:
    found = {episode.key: episode for episode in episodes}
    if len(found) < len(episodes):
        raise ComparisonError(f"{side}: expected every episode once, got one more than once; name every bag once")
    return found


def _pool(side: str, episodes: Sequence[EpisodeMetrics]) -> Pool:
    try:
        return Pool(episodes)
    except ConfigurationError as error:
        raise ComparisonError(f"{side}: {error}") from None


def _require_same_robot(a: Pool, b: Pool) -> None:
    if a.joint_names != b.joint_names:
        raise ComparisonError(
            f"expected the same joints in the same order, got {', '.join(a.joint_names)} in A and "
            f"{', '.join(b.joint_names)} in B"
        )
    if a.dt_s != b.dt_s:
        raise ComparisonError(f"expected the same control period, got {a.dt_s:g} s in A and {b.dt_s:g} s in B")


def _values(
    estimators: tuple[Estimator, Estimator], unit: str, episodes: int, weights: FloatArray | None
) -> tuple[Value, Value, Value]:
    """Of A, of B, and of the difference."""
    points = [float(each.estimate(np.ones((1, episodes)))[0]) for each in estimators]
    counts = [each.count for each in estimators]
    bounds: list[tuple[float, float] | None] = [None, None, None]
    if weights is not None and all(each.has_interval for each in estimators):
        one, other = (each.estimate(weights) for each in estimators)
        bounds = [percentile_interval(estimates) for estimates in (one, other, other - one)]
    numbers = [*points, points[1] - points[0]]
    first, second, difference = (
        _value(number, interval, unit, count)
        for number, interval, count in zip(numbers, bounds, [*counts, min(counts)], strict=True)
    )
    return first, second, difference


def _value(number: float, interval: tuple[float, float] | None, unit: str, count: int) -> Value:
    value = rounded_or_none(number)
    low, high = interval if interval is not None and value is not None else (None, None)
    return Value(value, low, high, unit, count)


def _verdict(difference: Value, better: Better) -> Verdict:
    if difference.low is None or difference.high is None:
        return Verdict.NO_INTERVAL
    if difference.low <= 0.0 <= difference.high:
        return Verdict.UNCLEAR
    if better is Better.NEITHER:
        return Verdict.DIFFERENT
    smaller = difference.high < 0.0
    return Verdict.BETTER if smaller == (better is Better.SMALLER) else Verdict.WORSE
