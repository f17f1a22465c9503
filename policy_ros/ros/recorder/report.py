# SPDX-License-Identifier: Apache-2.0
"""What a person or a script is told about a recording: the live line, and the summary."""

from __future__ import annotations

import time
from typing import Any

from policy_ros.ros.recorder.episodes import Result
from policy_ros.ros.recorder.options import Mode
from policy_ros.ros.recorder.plan import Need
from policy_ros.ros.recorder.recorder import Recorder
from policy_ros.ros.recorder.subscriptions import RecordedTopic
from policy_ros.ros.recorder.writing import WriterThread

_MB = 1e6


def live_line(recorder: Recorder) -> str:
    """State, rate of every topic (measured/expected) and size of the bag, in one line."""
    parts = [_state(recorder)]
    now_s = time.monotonic()
    parts += [_rate(topic, now_s) for topic in recorder.subscriptions.topics.values() if topic.measurements.received]
    writer = recorder.writer
    total = f"{recorder.size_bytes / _MB:.0f} MB"
    if writer is not None and writer.queued_bytes > 10 * _MB:
        total += f", {writer.queued_bytes / _MB:.0f} MB wait for the disk"
    if writer is not None and writer.dropped:
        total += f", DROPPED {writer.dropped.total()}"
    return " | ".join([*parts, total])


def _state(recorder: Recorder) -> str:
    episodes = recorder.episodes
    if recorder.options.mode is Mode.CONTINUOUS:
        return f"recording {recorder.duration_s:.0f} s"
    state = f"RECORDING episode {episodes.running}" if episodes.running is not None else "waiting"
    return f"{state}, {episodes.kept} kept"


def _rate(topic: RecordedTopic, now_s: float) -> str:
    numbers = topic.measurements
    silent_s = numbers.silent_s(now_s)
    if silent_s and topic.plan.need is Need.MESSAGES:
        return f"{topic.plan.label} SILENT {silent_s:.1f} s"
    expected = f"/{numbers.expected_hz:.0f}" if numbers.expected_hz else ""
    size = numbers.bytes_per_s(now_s) / _MB
    return f"{topic.plan.label} {numbers.rate_hz(now_s):.0f}{expected} Hz" + (f" {size:.1f} MB/s" if size >= 1 else "")


def summarise(recorder: Recorder) -> dict[str, Any]:
    """All numbers of a recording that has ended."""
    writer, episodes = recorder.writer, recorder.episodes
    topics = {
        topic.name: _topic(topic, writer)
        for topic in recorder.subscriptions.topics.values()
        if writer is not None and topic.number >= 0
    }
    dropped = writer.dropped.total() if writer is not None else 0
    return {
        "bag": str(recorder.options.out),
        "complete": writer is not None and writer.complete,
        "duration_s": recorder.duration_s,
        "size_bytes": recorder.size_bytes,
        "messages": sum(topic["count"] for topic in topics.values()),
        "dropped": dropped,
        "episodes": {
            "kept": episodes.kept,
            "discarded": episodes.discarded,
            **{result.name.lower(): episodes.count(result) for result in Result},
        },
        "topics": topics,
        "problems": recorder.problems,
        "ended_by": recorder.finished,
        "failure": recorder.failure,
        "exit_status": 1 if recorder.failure or dropped else 0,
    }


def _topic(topic: RecordedTopic, writer: WriterThread) -> dict[str, Any]:
    numbers = topic.measurements
    return {
        "type": topic.type,
        "count": writer.written[topic.number],
        "rate_hz": numbers.recorded_hz,
        "expected_hz": numbers.expected_hz,
        "largest_gap_s": numbers.largest_gap_s,
        "bytes": numbers.recorded_bytes,
        "dropped": writer.dropped[topic.number],
        "lost": numbers.lost,
    }


def readable(summary: dict[str, Any]) -> str:
    """The summary as a table."""
    width = max(map(len, summary["topics"]), default=5)
    lines = [f"{'topic':<{width}} {'count':>8} {'Hz':>7} {'gap s':>7} {'MB':>9} {'dropped':>8} {'lost':>6}"]
    lines += [
        f"{name:<{width}} {topic['count']:>8} {topic['rate_hz']:>7.1f} {topic['largest_gap_s']:>7.3f} "
        f"{topic['bytes'] / _MB:>9.1f} {topic['dropped']:>8} {topic['lost']:>6}"
        for name, topic in summary["topics"].items()
    ]
    lines += [f"warning: {problem}" for problem in summary["problems"]]
    episodes = ", ".join(f"{count} {name}" for name, count in summary["episodes"].items() if count or name == "kept")
    lines.append(
        f"{summary['bag']}: {summary['size_bytes'] / _MB:.1f} MB, {summary['duration_s']:.1f} s, episodes: {episodes}; "
        f"ended by {summary['ended_by']}"
    )
    if summary["dropped"]:
        reason = "" if summary["failure"] else "; the disk was too slow"
        lines.append(f"ERROR: {summary['dropped']} messages were not written{reason}")
    if summary["failure"]:
        lines.append(f"ERROR: {summary['failure']}")
    return "\n".join(lines)
