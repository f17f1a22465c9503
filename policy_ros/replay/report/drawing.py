# SPDX-License-Identifier: Apache-2.0
"""What the script of the page draws, as plain values; arrays as base64 of little-endian numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_ros.data import AnyArray
from policy_ros.replay.metrics import EpisodeMetrics
from policy_ros.replay.metrics.distribution import Distribution
from policy_ros.replay.report.histogram import histogram
from policy_ros.replay.report.horizon import HorizonSums
from policy_ros.replay.report.page import ShownMoment, ShownPicture, ShownStretch
from policy_ros.replay.report.pictures import Picture
from policy_ros.replay.report.stretch import Stretch
from policy_ros.replay.report.texts import number
from policy_ros.replay.result import ReplayResult

MOST_MOMENTS = 6


def shown_stretch(stretch: Stretch, reasons: Sequence[str]) -> ShownStretch:
    """An entry of the selector."""
    return ShownStretch(
        label=f"{Path(stretch.bag).name}, episode {stretch.episode}, {_span(stretch)}: {', '.join(reasons)}",
        data={
            "note": _note(stretch),
            "joints": list(stretch.joint_names),
            "dt": stretch.dt_s,
            "begin": stretch.begin_s,
            "end": stretch.end_s,
            "times": _packed(stretch.times_s, "<f4"),
            "commands": _packed(stretch.commands, "<f4"),
            "recorded": _packed(stretch.recorded, "<f4"),
            "measured": _packed(stretch.measured, "<f4"),
            "clamped": _packed(stretch.clamped, "<u1"),
            "seams": _packed(stretch.seams, "<i4"),
            "chunk_times": _packed(stretch.chunk_times_s, "<f4"),
            "chunk_rows": _packed(stretch.chunk_rows, "<f4"),
            "holds": [
                {"begin": begin, "end": end, "cause": cause, "detail": detail}
                for begin, end, cause, detail in stretch.holds
            ],
            "worst": _worst(stretch),
        },
    )


def shown_moments(stretches: Sequence[Stretch]) -> list[ShownMoment]:
    """The worst moments of them, not more than one of each, the worst first."""
    found = [(each.worst, index, each) for index, each in enumerate(stretches) if each.worst is not None]
    return [
        ShownMoment(
            when=f"{Path(stretch.bag).name}, episode {stretch.episode}, {moment.at_s:.2f} s",
            error=number(moment.error),
            joint=moment.joint,
            joint_error=number(moment.joint_error),
            stretch=index,
            pictures=tuple(_shown_picture(each) for each in moment.pictures),
        )
        for moment, index, stretch in sorted(found, key=lambda each: -each[0].error)[:MOST_MOMENTS]
    ]


def horizon_curves(sums: HorizonSums, dt_s: float) -> dict[str, Any] | None:
    """Error by row of a chunk, all joints first; None where nothing was compared."""
    mean, half = sums.mean(), sums.half_width()
    if not np.isfinite(mean[:, -1]).any():
        return None
    order = [len(sums.joint_names), *range(len(sums.joint_names))]
    names = ("all joints", *sums.joint_names)
    return {
        "seconds": _plain((np.arange(len(mean)) + 1.0) * dt_s),
        "lines": [
            {
                "name": name,
                "mean": _plain(mean[:, column]),
                "low": _plain(np.maximum(mean[:, column] - half[:, column], 0.0)),
                "high": _plain(mean[:, column] + half[:, column]),
            }
            for name, column in zip(names, order, strict=True)
        ],
    }


def histograms(episodes: Iterable[EpisodeMetrics]) -> list[dict[str, Any]]:
    """Of chunks: delay, latency, age and skew of the observation; none where nothing was counted."""
    episodes = list(episodes)
    return [
        made
        for made in (
            _histogram("delay", "Delay", "steps", [each.chunks.delay for each in episodes], at_least=1.0),
            _histogram("latency", "Latency of the inference", "ms", [each.chunks.latency for each in episodes], 1e3),
            _histogram("age", "Age of the oldest input", "ms", [each.chunks.observation_age for each in episodes], 1e3),
            _histogram("skew", "Skew within an observation", "ms", [each.chunks.skew for each in episodes], 1e3),
        )
        if made is not None
    ]


def alignment(result: ReplayResult) -> dict[str, Any] | None:
    """Error of predictions against the recording at other times and of other joints; None without commands."""
    summary = result.summary
    if summary is None or all(value is None for value in summary.error_by_lag.mae):
        return None
    joints = len(summary.joint_names)
    parts = [each.alignment for each in result.episodes]
    total = np.sum([each.cross_absolute for each in parts], axis=0, dtype=np.float64).reshape(joints, joints)
    count = np.sum([each.cross_count for each in parts], axis=0, dtype=np.float64)
    cross = total / np.where(count > 0.0, count, np.nan)
    return {
        "lag": {"seconds": list(summary.error_by_lag.lag_s), "error": list(summary.error_by_lag.mae)},
        "cross": {"joints": list(summary.joint_names), "error": [_plain(row) for row in cross]},
    }


def _histogram(
    name: str, title: str, unit: str, distributions: Sequence[Distribution], scale: float = 1.0, at_least: float = 0.0
) -> dict[str, Any] | None:
    values = [value * scale for each in distributions for value in each.values]
    counts = [count for each in distributions for count in each.counts]
    if not values:
        return None
    made = histogram(values, counts, at_least=at_least)
    return {
        "id": f"histogram-{name}",
        "title": f"{title} [{unit}], of {sum(counts)} chunks",
        "unit": f"{title.lower()} [{unit}]",
        "centres": list(made.centres),
        "counts": list(made.counts),
        "width": made.width,
    }


def _worst(stretch: Stretch) -> dict[str, Any] | None:
    moment = stretch.worst
    if moment is None:
        return None
    return {
        "at": moment.at_s,
        "seconds": len(moment.times_s) * stretch.dt_s,
        "times": _packed(moment.times_s, "<f4"),
        "actions": _packed(moment.actions, "<f4"),
    }


def _note(stretch: Stretch) -> str:
    """What of the stretch is drawn, where it is not all, and its worst moment."""
    parts = []
    length_s = stretch.end_s - stretch.begin_s
    if stretch.covers_s - length_s > 2.0 * stretch.dt_s:
        parts.append(f"Drawn are {length_s:.1f} s of {stretch.covers_s:.1f} s, around the worst moment.")
    if stretch.chunks_drawn < stretch.chunks:
        parts.append(f"Drawn are {stretch.chunks_drawn} of {stretch.chunks} chunks, at equal distances.")
    if stretch.worst is not None:
        parts.append(
            f"The chunk furthest off began at {stretch.worst.at_s:.2f} s: {number(stretch.worst.error)} on average, "
            f"{number(stretch.worst.joint_error)} in {stretch.worst.joint}."
        )
    return " ".join(parts)


def _span(stretch: Stretch) -> str:
    return f"{stretch.begin_s:.0f} to {stretch.end_s:.0f} s"


def _shown_picture(picture: Picture) -> ShownPicture:
    source = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"
    age = "" if picture.age_s is None else f"{1e3 * picture.age_s:.0f} ms old"
    return ShownPicture(picture.camera, source, picture.width, picture.height, age)


def _packed(values: AnyArray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def _plain(values: AnyArray) -> list[float | None]:
    """Floats of six digits, None for what is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]
