# SPDX-License-Identifier: Apache-2.0
"""Episodes in several environments at once: one pass of the network for all that need a chunk.

Each environment runs its chunk to the end, or to the end of the episode, before anybody infers again; then all of them
need one. So every pass has as many observations as there are environments, whatever the lengths of the episodes.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from policy_ros.data import JointScaling
from policy_ros.errors import ActionError
from policy_ros.evaluation.fitting import make_task, node_parameters
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult
from policy_ros.evaluation.seeds import noise_generator
from policy_ros.evaluation.task import Features, Progress, Task
from policy_ros.parameters.build import action_scaling
from policy_ros.policies.base import Policy
from policy_ros.policies.seeded import draw_noise


def run_batched(
    policy: Policy, options: EvaluationOptions, seeds: Sequence[int], progress: Progress
) -> list[EpisodeResult]:
    """The episodes of these seeds, in the order in which they end.

    Raises:
        ConfigurationError: policy and environment do not fit.
        ActionError: actions that are not finite.
    """
    waiting = deque(seeds)
    results: list[EpisodeResult] = []
    lanes: list[_Lane] = []
    try:
        for _ in range(min(options.batch_size, len(seeds))):
            lanes.append(_Lane(policy, options))
            lanes[-1].begin(waiting.popleft())
        busy = list(lanes)
        while busy:
            _advance(policy, busy)
            for lane in [lane for lane in busy if lane.task.over]:
                results.append(lane.result())
                progress(results[-1])
                if waiting:
                    lane.begin(waiting.popleft())
                else:
                    busy.remove(lane)
    finally:
        for lane in lanes:
            lane.task.close()
    return results


def _advance(policy: Policy, lanes: Sequence[_Lane]) -> None:
    """One chunk for each environment."""
    observations = [lane.observe() for lane in lanes]
    noise = [drawn for lane in lanes if (drawn := draw_noise(policy.config, lane.generator)) is not None]
    chunks = policy.predict_batch(observations, noise=np.concatenate(noise) if noise else None)
    for lane, chunk in zip(lanes, chunks, strict=True):
        lane.execute(chunk)


class _Lane:
    """One environment, which takes one episode after the other."""

    def __init__(self, policy: Policy, options: EvaluationOptions) -> None:
        self.task: Task = make_task(policy, options)
        self._scaling: JointScaling = action_scaling(node_parameters(self.task, options))
        self._rows = policy.config.execution_rows
        self._ensembler = copy.deepcopy(policy.ensembler)  # each episode averages its own chunks
        self.seed = self.inferences = 0
        self.generator = noise_generator(0)

    def begin(self, seed: int) -> None:
        """The next episode."""
        self.seed, self.inferences = seed, 0
        self.generator = noise_generator(seed)
        if self._ensembler is not None:
            self._ensembler.reset()
        self.task.reset(seed)

    def observe(self) -> Features:
        """For the chunk that is needed now."""
        self.inferences += 1
        return self.task.observe()

    def execute(self, chunk: NDArray[np.float32]) -> None:
        """The rows of ``(H, A)`` that are meant to be executed, until the episode is over."""
        if not np.isfinite(chunk).all():
            raise ActionError(
                f"episode of seed {self.seed}, step {self.task.steps}: expected finite actions, got others"
            )
        for row in self._scaling.to_robot(self._chosen(chunk)):
            self.task.step(row)
            if self.task.over:
                return

    def _chosen(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._ensembler is None:
            return chunk[: self._rows]
        # From the network's units to the policy's is affine, so it does not matter in which of them rows are averaged.
        action: NDArray[np.float32] = self._ensembler.update(torch.from_numpy(chunk)).numpy()
        return action[None]

    def result(self) -> EpisodeResult:
        """Of the episode that is over."""
        task = self.task
        return EpisodeResult(
            seed=self.seed,
            success=task.success,
            steps=task.steps,
            seconds=task.steps / task.rate_hz,
            best_reward=task.best_reward,
            inferences=self.inferences,
        )
