# SPDX-License-Identifier: Apache-2.0
"""Episodes of one process, in the way that the options ask for."""

from __future__ import annotations

from collections.abc import Sequence

from policy_ros.evaluation.batched import run_batched
from policy_ros.evaluation.executed import run_executed
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult
from policy_ros.evaluation.task import Progress
from policy_ros.policies.base import Policy


def run_episodes(
    policy: Policy, options: EvaluationOptions, seeds: Sequence[int], progress: Progress
) -> list[EpisodeResult]:
    """The episodes of these seeds; ``progress`` is told each as it ends."""
    run = run_executed if options.mode else run_batched
    return run(policy, options, seeds, progress)
