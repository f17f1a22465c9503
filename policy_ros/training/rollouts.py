# SPDX-License-Identifier: Apache-2.0
"""The success rate of a policy in a gymnasium environment, while it is trained."""

from __future__ import annotations

from torchmetrics import MeanMetric

from policy_ros.evaluation import EvaluationOptions, evaluate
from policy_ros.evaluation.evaluate import check
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.base import Policy
from policy_ros.training.loading import Shard

# Far from the seeds of demonstrations and evaluations: the best policy is chosen by these episodes.
FIRST_SEED = 1_000_000


class Rollouts:
    """The same episodes every time; each device takes a share of them.

    Args:
        env_id: of the environment.
        episodes: on all devices together.
        parameters: of the node, which the policy will act through.
        shard: of this device.
    """

    def __init__(self, env_id: str, episodes: int, parameters: NodeParameters, shard: Shard) -> None:
        self._env_id = env_id
        self._parameters = parameters
        self._first, self._end = (index * episodes // shard.parts for index in (shard.part, shard.part + 1))

    def check(self, policy: Policy) -> None:
        """Find out before the training whether there can be rollouts after it.

        Raises:
            ConfigurationError: environment and policy do not fit, or there is no such environment.
        """
        check(policy, self._options(1))

    def success_rate(self, policy: Policy) -> float:
        """Share of episodes that ended in success, 0 to 1."""
        share = self._end - self._first
        rate = MeanMetric().to(policy.device)
        if share:
            rate.update(evaluate(policy, self._options(share)).success_rate, weight=share)
        return float(rate.compute())

    def _options(self, episodes: int) -> EvaluationOptions:
        return EvaluationOptions(
            env_id=self._env_id, episodes=episodes, seed=FIRST_SEED + self._first, parameters=self._parameters
        )
