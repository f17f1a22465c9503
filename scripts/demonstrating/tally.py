# SPDX-License-Identifier: Apache-2.0
"""Adds up what the node and the robot told about each episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from policy_ros.msg import PolicyStatus
from policy_ros.ros.monitor import FrameCounts, summarise
from policy_ros.ros.simulated_robot.client import EpisodeResult

_COUNTS = ("chunks", "holds", "holds_after_first_chunk", "commands", "deadlines_missed")
_TIMES = ("inference_ms", "observation_age_ms", "command_period_ms")


class Tally:
    """The node counts anew with every activation, so its last word about each episode is kept."""

    def __init__(self) -> None:
        self._results: list[EpisodeResult] = []
        self._statuses: list[dict[str, Any]] = []
        self._delays: list[int] = []
        self._chunks = 0
        self._published: Counter[str] = Counter()
        self._received: Counter[str] = Counter()

    def note(self, status: PolicyStatus) -> None:
        """A status on the way; the delay of the first chunk of an activation says nothing."""
        if status.chunks > 1 and status.chunks != self._chunks:
            self._delays.append(int(status.delay))
        self._chunks = int(status.chunks)

    def add(
        self, result: EpisodeResult, status: PolicyStatus, first: FrameCounts | None, last: FrameCounts | None
    ) -> None:
        """One episode: its last status, and the counts of frames of two moments of it."""
        self._results.append(result)
        self._statuses.append(summarise(status))
        if first is not None and last is not None:
            for name in first.published:
                self._published[name] += last.published[name] - first.published[name]
                self._received[name] += round(last.received[name] - first.received[name])

    def success(self, first_seed: int) -> dict[str, Any]:
        """How often the task was done."""
        solved = [result for result in self._results if result.success]
        return {
            "episodes": len(self._results),
            "successes": len(solved),
            "rate": len(solved) / max(1, len(self._results)),
            "failed_seeds": [first_seed + result.index for result in self._results if not result.success],
            "seconds": median(result.seconds for result in solved) if solved else None,
        }

    def execution(self) -> dict[str, Any]:
        """Sums of counts; of times the median of the episodes' medians, and their largest 99th percentile.

        Of what acts in place of the mode (``active_modes``) the last of each episode counts.
        """
        statuses = self._statuses
        return {
            "mode": statuses[-1]["mode"],
            "active_modes": dict(Counter(status["active_mode"] for status in statuses)),
            "degradations": sorted({status["degradation"] for status in statuses} - {""}),
            "delay_steps": {"median": median(self._delays or [0]), "max": max(self._delays, default=0)},
            **{name: sum(status[name] for status in statuses) for name in _COUNTS},
            **{name: _spread([status[name] for status in statuses]) for name in _TIMES},
        }

    def cameras(self) -> dict[str, dict[str, float]]:
        """Frames that the robot published and the node received, over the same times."""
        return {
            name: {
                "published": count,
                "received": self._received[name],
                "ratio": self._received[name] / max(1, count),
            }
            for name, count in self._published.items()
        }


def _spread(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {"p50": median(value["p50"] for value in values), "p99": max(value["p99"] for value in values)}
