# SPDX-License-Identifier: Apache-2.0
"""A policy in a gymnasium environment, scored: many seeded episodes, without ROS."""

from policy_ros.evaluation.evaluate import check, evaluate
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.result import EpisodeResult, EvaluationResult, ExecutionFacts

__all__ = ["EpisodeResult", "EvaluationOptions", "EvaluationResult", "ExecutionFacts", "check", "evaluate"]
