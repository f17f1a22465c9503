# SPDX-License-Identifier: Apache-2.0
"""Episodes in several processes, each with a copy of the policy."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch

from policy_ros.errors import ConfigurationError
from policy_ros.evaluation.episodes import run_episodes
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult
from policy_ros.evaluation.task import Progress
from policy_ros.policies.base import Policy

_LOG_ROOT = "policy_ros"
_policy: Policy | None = None  # of this worker process


def run_in_processes(
    policy: Policy, options: EvaluationOptions, seeds: Sequence[int], progress: Progress
) -> list[EpisodeResult]:
    """The episodes of these seeds, in the order in which groups of them end.

    Raises:
        ConfigurationError: the policy is on a GPU, which several processes would have to share.
    """
    if policy.device.type != "cpu":
        raise ConfigurationError(f"workers: expected 1 for a policy on {policy.device}, got {options.workers}")
    size = min(options.batch_size, -(-len(seeds) // options.workers))
    groups = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    results: list[EpisodeResult] = []
    # Forked, a process would inherit threads' locks; pickled as bytes, tensors need no shared memory.
    level = logging.getLogger(_LOG_ROOT).getEffectiveLevel()
    pool = ProcessPoolExecutor(
        min(options.workers, len(groups)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(pickle.dumps(policy), level),
    )
    try:
        for future in as_completed([pool.submit(_run, options, group) for group in groups]):
            for result in future.result():
                results.append(result)
                progress(result)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _begin(pickled: bytes, level: int) -> None:
    global _policy
    torch.set_num_threads(1)
    logging.getLogger(_LOG_ROOT).setLevel(level)
    _policy = pickle.loads(pickled)  # made by the process that started this one


def _run(options: EvaluationOptions, seeds: Sequence[int]) -> list[EpisodeResult]:
    assert _policy is not None
    return run_episodes(_policy, options, seeds, lambda result: None)
