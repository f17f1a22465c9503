# SPDX-License-Identifier: Apache-2.0
"""Strategies by name."""

from __future__ import annotations

from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape, Strategy
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.strategies.sync import SyncStrategy

_STRATEGIES: dict[str, type[Strategy]] = {strategy.name: strategy for strategy in (SyncStrategy, OverlapStrategy)}


def available_strategies() -> tuple[str, ...]:
    """Valid values of ``execution.mode``."""
    return tuple(sorted(_STRATEGIES))


def make_strategy(config: ExecutionConfig, *, horizon: int, n_action_steps: int) -> Strategy:
    """The strategy that ``config.mode`` names, for chunks of a policy.

    Args:
        config: mode and execution horizon.
        horizon: H, rows of the policy's chunks.
        n_action_steps: rows that the checkpoint means to be executed.

    Raises:
        ConfigurationError: unknown mode, or the horizons do not fit together.
    """
    if config.mode not in _STRATEGIES:
        raise ConfigurationError(f"execution.mode: unknown '{config.mode}', {closest(config.mode, _STRATEGIES)}")
    return _STRATEGIES[config.mode](ChunkShape(horizon, n_action_steps), config)
