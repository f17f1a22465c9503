# SPDX-License-Identifier: Apache-2.0
"""The entry: a policy and options in, a result out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from policy_ros.evaluation.episodes import run_episodes
from policy_ros.evaluation.executed import check_mode
from policy_ros.evaluation.fitting import make_task
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult, EvaluationResult
from policy_ros.evaluation.task import Progress
from policy_ros.evaluation.workers import run_in_processes
from policy_ros.policies.base import Policy


def evaluate(
    policy: Policy,
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen
    *,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Run a policy through seeded episodes.

    Everything random in an episode follows from its seed, so the result depends neither on the batch size nor on the
    number of workers, but for the rounding of the network. The policy is left in the mode (training or evaluation) in
    which it was; with a mode of execution it is reset.

    Args:
        policy: on any device.
        options: environment, episodes, mode of execution.
        progress: is told each episode as it ends, in no particular order.

    Raises:
        ConfigurationError: the environment is unknown, or does not fit the policy or the mode.
        ActionError: the policy's actions are not finite.
    """
    began = time.perf_counter()
    seeds = range(options.seed, options.seed + options.episodes)
    rate_hz, time_limit_s = check(policy, options)
    with _modes_kept(policy):
        run = run_episodes if options.workers == 1 else run_in_processes
        rows = run(policy, options, seeds, progress or _ignore)
    return EvaluationResult(
        env_id=options.env_id,
        mode=options.mode,
        delay_ms=options.delay_ms,
        rate_hz=rate_hz,
        time_limit_s=time_limit_s,
        episodes=tuple(sorted(rows, key=lambda row: row.seed)),
        wall_s=time.perf_counter() - began,
    )


def check(policy: Policy, options: EvaluationOptions) -> tuple[float, float]:
    """Whether these episodes can begin at all; control rate [Hz] and time limit [s] of them.

    Raises:
        ConfigurationError: says why not.
    """
    task = make_task(policy, options)
    try:
        task.reset(options.seed)
        if options.mode:
            check_mode(policy, options, task)
        return task.rate_hz, task.max_steps / task.rate_hz
    finally:
        task.close()


def _ignore(result: EpisodeResult) -> None:
    """Nobody wants to know."""


@contextmanager
def _modes_kept(policy: Policy) -> Iterator[None]:
    """Inference puts a policy into evaluation mode; training goes on in the modes that its modules had."""
    before = [(module, module.training) for module in policy.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
