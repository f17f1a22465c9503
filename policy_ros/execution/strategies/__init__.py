# SPDX-License-Identifier: Apache-2.0
"""How chunks follow one another: one file per strategy, found by the name in ``execution.mode``."""

from policy_ros.execution.strategies.base import ChunkShape, Guidance, Strategy
from policy_ros.execution.strategies.registry import available_strategies, make_strategy

__all__ = ["ChunkShape", "Guidance", "Strategy", "available_strategies", "make_strategy"]
