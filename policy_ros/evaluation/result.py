# SPDX-License-Identifier: Apache-2.0
"""What came of an evaluation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from policy_ros.evaluation.interval import wilson_interval


@dataclass(frozen=True)
class ExecutionFacts:
    """How one episode was executed.

    Attributes:
        delay_steps: mean measured delay of the chunks after the first [steps]; 0 where there was one only.
        guided: chunks that were guided to continue the one before.
        gate_clamped: commands that the gate changed.
        holds: transitions to a hold.
        hold: why the robot stood at the end, empty if it did not.
        degradation: newest reason for which another mode acted than the one chosen, empty without.
    """

    delay_steps: float
    guided: int
    gate_clamped: int
    holds: int
    hold: str
    degradation: str


@dataclass(frozen=True)
class EpisodeResult:
    """One episode.

    Attributes:
        seed: of the environment; that of the evaluation and the number of the episode.
        success: whether the environment said so before the time was over.
        steps: control steps until success, or until the episode ended.
        seconds: these steps in the environment's time [s].
        best_reward: largest reward of a step.
        inferences: chunks that were asked for.
        execution: None where chunks were executed without an executor.
    """

    seed: int
    success: bool
    steps: int
    seconds: float
    best_reward: float
    inferences: int
    execution: ExecutionFacts | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """All episodes, in the order of their seeds.

    Attributes:
        env_id: the environment.
        mode: of the execution; empty where chunks were executed one after the other, without an executor.
        delay_ms: of every inference [ms].
        rate_hz: control rate [Hz].
        time_limit_s: of an episode [s].
        episodes: at least one.
        wall_s: how long the evaluation took [s]; all else is the same every time.
    """

    env_id: str
    mode: str
    delay_ms: float
    rate_hz: float
    time_limit_s: float
    episodes: tuple[EpisodeResult, ...]
    wall_s: float

    @property
    def successes(self) -> int:
        """Episodes that ended in success."""
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        """Share of episodes that ended in success, 0 to 1."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % confidence interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    @property
    def mean_steps(self) -> float:
        """Mean length of all episodes, failed ones included [steps]."""
        return sum(episode.steps for episode in self.episodes) / len(self.episodes)

    @property
    def mean_seconds(self) -> float:
        """Mean length of all episodes in the environment's time [s]."""
        return self.mean_steps / self.rate_hz

    @property
    def mean_best_reward(self) -> float:
        """Mean of the episodes' largest rewards."""
        return sum(episode.best_reward for episode in self.episodes) / len(self.episodes)

    def as_json(self) -> dict[str, Any]:
        """Plain values, rows included."""
        return {
            "env_id": self.env_id,
            "mode": self.mode,
            "delay_ms": self.delay_ms,
            "rate_hz": self.rate_hz,
            "time_limit_s": self.time_limit_s,
            "episodes": len(self.episodes),
            "successes": self.successes,
            "success_rate": self.success_rate,
            "success_interval_95": list(self.interval),
            "mean_steps": self.mean_steps,
            "mean_seconds": self.mean_seconds,
            "mean_best_reward": self.mean_best_reward,
            "wall_s": self.wall_s,
            "rows": [dataclasses.asdict(episode) for episode in self.episodes],
        }
