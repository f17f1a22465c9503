# SPDX-License-Identifier: Apache-2.0
"""The registry of metrics. What they mean: docs/replay-metrics.md, whose table a test compares with this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from policy_ros.replay.metrics import makers
from policy_ros.replay.metrics.definition import Better, Definition
from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.metrics.episode import EpisodeMetrics
from policy_ros.replay.metrics.prediction import ALL_ROWS, HORIZONS
from policy_ros.replay.metrics.sums import ErrorSums

POSITION, ACCELERATION, JERK = "rad, m", "rad/s², m/s²", "rad/s³, m/s³"
SECONDS, STEPS, SHARE, COUNT, PER_MINUTE = "s", "steps", "share", "count", "1/min"
DEVIATIONS, PICTURES = "std", "pictures"
EPISODES, VALUES, CHUNKS, SEAMS, COMMANDS = "episodes", "values", "chunks", "seams", "commands"

_down = partial(Definition, better=Better.SMALLER)
_up = partial(Definition, better=Better.LARGER)
_fact = partial(Definition, better=Better.NEITHER)


def _error(prefix: str, section: str, get: Callable[[EpisodeMetrics], ErrorSums], row: str = "") -> list[Definition]:
    return [
        _down(f"{prefix}{kind}{row}{joint}", POSITION, section, counted=VALUES, make=make(get))
        for kind, make in (("mae", makers.mean_error), ("rmse", makers.root_mean_square_error))
        for joint in ("", ".<joint>")
    ]


def _prediction_errors() -> list[Definition]:
    def of(row: str) -> Callable[[EpisodeMetrics], ErrorSums]:
        return lambda each: each.prediction.by_joint[row]

    section = "Action error"
    rows = [_error("", section, of(ALL_ROWS)), *(_error("", section, of(row), f"@{row}") for row in HORIZONS)]
    return [definition for row in rows for definition in row]


def _spread(
    name: str, section: str, unit: str, counted: str, get: Callable[[EpisodeMetrics], Distribution]
) -> list[Definition]:
    return [
        _down(f"{name}.p50", unit, section, counted=counted, make=makers.quantile(get, 0.5)),
        _down(f"{name}.p99", unit, section, counted=counted, make=makers.quantile(get, 0.99)),
        _down(f"{name}.max", unit, section, counted=EPISODES, make=makers.largest(get)),
    ]


def _peaks(
    name: str,
    unit: str,
    get: Callable[[EpisodeMetrics], tuple[float | None, ...]],
    definition: Callable[..., Definition],
) -> list[Definition]:
    section = "Acceleration and jerk"
    return [
        definition(f"{name}.peak", unit, section, counted=EPISODES, make=makers.peak(get)),
        definition(f"{name}.peak.<joint>", unit, section, counted=EPISODES, make=makers.peak(get)),
        definition(f"{name}.mean_peak", unit, section, counted=EPISODES, make=makers.mean_peak(get)),
    ]


DEFINITIONS: tuple[Definition, ...] = (
    *_prediction_errors(),
    _fact(
        "compared",
        SHARE,
        "Action error",
        counted=VALUES,
        make=makers.ratio(
            lambda each, _: sum(each.prediction.by_joint[ALL_ROWS].count), lambda each, _: each.prediction.values
        ),
    ),
    _fact("lag", SECONDS, "Lag", counted=VALUES, make=makers.best_lag(gain=False)),
    _down("lag_gain", SHARE, "Lag", counted=VALUES, make=makers.best_lag(gain=True)),
    _down("joint_order_gain", SHARE, "Joint order", counted=VALUES, make=makers.joint_order_gain),
    _down("camera_order_gain", SHARE, "Pictures", counted=PICTURES, make=makers.camera_order_gain),
    _down("picture_shift", DEVIATIONS, "Pictures", counted=PICTURES, make=makers.picture_shift),
    *_error("executed_", "Executed error", lambda each: each.executed),
    *_spread("seam_jump", "Seams", POSITION, SEAMS, lambda each: each.seams.jumps),
    _down(
        "seam_jump.max.<joint>",
        POSITION,
        "Seams",
        counted=EPISODES,
        make=makers.peak(lambda each: each.seams.largest),
    ),
    *_peaks("acceleration", ACCELERATION, lambda each: each.peaks.acceleration, _down),
    *_peaks("jerk", JERK, lambda each: each.peaks.jerk, _down),
    *_peaks("recorded_acceleration", ACCELERATION, lambda each: each.recorded_peaks.acceleration, _fact),
    *_peaks("recorded_jerk", JERK, lambda each: each.recorded_peaks.jerk, _fact),
    _down("holds", COUNT, "Holds", counted=EPISODES, make=makers.total(lambda each, _: sum(each.run.holds.values()))),
    _down(
        "holds.<cause>",
        COUNT,
        "Holds",
        counted=EPISODES,
        make=makers.total(lambda each, cause: each.run.holds.get(cause, 0)),
    ),
    _down(
        "holds_per_minute",
        PER_MINUTE,
        "Holds",
        counted=EPISODES,
        make=makers.of_time(lambda each, _: sum(each.run.holds.values()), 60.0),
    ),
    _down(
        "hold_time",
        SECONDS,
        "Holds",
        counted=EPISODES,
        make=makers.total(lambda each, _: sum(each.run.hold_s.values())),
    ),
    _down(
        "hold_time.<cause>",
        SECONDS,
        "Holds",
        counted=EPISODES,
        make=makers.total(lambda each, cause: each.run.hold_s.get(cause, 0.0)),
    ),
    _down(
        "hold_share",
        SHARE,
        "Holds",
        counted=EPISODES,
        make=makers.of_time(lambda each, _: sum(each.run.hold_s.values())),
    ),
    _down("resets", COUNT, "Holds", counted=EPISODES, make=makers.total(lambda each, _: each.run.resets)),
    _down("gate.clamped", COUNT, "Gate", counted=EPISODES, make=makers.total(lambda each, _: each.run.clamped)),
    _down(
        "gate.clamped_share",
        SHARE,
        "Gate",
        counted=COMMANDS,
        make=makers.ratio(lambda each, _: each.run.clamped, lambda each, _: each.run.commands),
    ),
    Definition(
        "gate.clamped.<joint>",
        COUNT,
        "Gate",
        Better.SMALLER,
        EPISODES,
        lambda pool, joint: makers.total(lambda each, _: each.run.clamped_joints[pool.joint(joint)])(pool, joint),
    ),
    _down("gate.rejected", COUNT, "Gate", counted=EPISODES, make=makers.total(lambda each, _: each.run.rejected)),
    _down(
        "deadline_misses",
        COUNT,
        "Deadlines",
        counted=EPISODES,
        make=makers.total(lambda each, _: each.run.deadline_misses),
    ),
    _down("delay.mean", STEPS, "Delay", counted=CHUNKS, make=makers.mean(lambda each: each.chunks.delay)),
    *_spread("delay", "Delay", STEPS, CHUNKS, lambda each: each.chunks.delay),
    *_spread("latency", "Latency", SECONDS, CHUNKS, lambda each: each.chunks.latency),
    *_spread("observation_age", "Observation age and skew", SECONDS, CHUNKS, lambda each: each.chunks.observation_age),
    *_spread("skew", "Observation age and skew", SECONDS, CHUNKS, lambda each: each.chunks.skew),
    _fact("chunks", COUNT, "Chunks", counted=EPISODES, make=makers.total(lambda each, _: each.chunks.count)),
    _fact(
        "chunks.executed", COUNT, "Chunks", counted=EPISODES, make=makers.total(lambda each, _: each.chunks.executed)
    ),
    _fact("chunks.guided", COUNT, "Chunks", counted=EPISODES, make=makers.total(lambda each, _: each.chunks.guided)),
    _down(
        "chunks.degraded",
        COUNT,
        "Chunks",
        counted=EPISODES,
        make=makers.total(lambda each, _: sum(each.chunks.degradations.values())),
    ),
    *(
        _down(
            name,
            COUNT,
            "Chunks",
            counted=EPISODES,
            make=makers.total(lambda each, _, counter=counter: each.chunks.counters[counter]),  # type: ignore[misc]
        )
        for name, counter in (
            ("chunks.late", "chunks_late"),
            ("chunks.rejected", "chunks_rejected"),
            ("inference_errors", "inference_errors"),
        )
    ),
    _down(
        "not_ready",
        COUNT,
        "Chunks",
        counted=EPISODES,
        make=makers.total(lambda each, _: sum(each.chunks.not_ready.values())),
    ),
    _up("coverage", SHARE, "Coverage", counted=EPISODES, make=makers.of_time(lambda each, _: each.run.commanded_s)),
    _up(
        "predicted_coverage",
        SHARE,
        "Coverage",
        counted=EPISODES,
        make=makers.of_time(lambda each, _: each.run.predicted_s),
    ),
    _down(
        "without_commands.<reason>",
        SHARE,
        "Coverage",
        counted=EPISODES,
        make=makers.of_time(lambda each, reason: each.run.without_s.get(reason, 0.0)),
    ),
    _fact("duration", SECONDS, "Coverage", counted=EPISODES, make=makers.total(lambda each, _: each.run.span_s)),
    _fact("jumps", COUNT, "Coverage", counted=EPISODES, make=makers.total(lambda each, _: each.run.jumps)),
)


def metric_names(joint_names: Sequence[str]) -> list[str]:
    """Every name there is for a robot with these joints."""
    return list(definitions_by_name(joint_names))


def definitions_by_name(joint_names: Sequence[str]) -> dict[str, Definition]:
    """Every name there is for a robot with these joints, and what it is one of."""
    return {name: definition for definition in DEFINITIONS for name, _ in definition.expand(joint_names)}
