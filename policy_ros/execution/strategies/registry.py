# SPDX-License-Identifier: Apache-2.0
"""Strategies by name."""

from __future__ import annotations

from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.strategies.base import ChunkShape, Strategy
from policy_ros.execution.strategies.blend import BlendStrategy
from policy_ros.execution.strategies.ensemble import EnsembleStrategy
from policy_ros.execution.strategies.overlap import OverlapStrategy
from policy_ros.execution.strategies.rtc import RtcStrategy
from policy_ros.execution.strategies.sync import SyncStrategy

_STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (SyncStrategy, OverlapStrategy, EnsembleStrategy, BlendStrategy, RtcStrategy)
}
_UNGUIDED = tuple(sorted(set(_STRATEGIES) - {RtcStrategy.name}))


def available_strategies() -> tuple[str, ...]:
    """Valid values of ``execution.mode``."""
    return tuple(sorted(_STRATEGIES))


def make_strategy(
    config: ExecutionConfig, *, horizon: int, n_action_steps: int, supports_guidance: bool = False
) -> Strategy:
    """The strategy that ``config.mode`` names, for chunks of a policy.

    Args:
        config: mode and options.
        horizon: H, rows of the policy's chunks.
        n_action_steps: rows that the checkpoint means to be executed.
        supports_guidance: whether the policy declares that it can be guided.

    Raises:
        ConfigurationError: unknown mode, horizons that do not fit together, or ``rtc`` for a policy that cannot be
            guided while ``config.rtc_fallback`` names no other mode.
    """
    shape = ChunkShape(horizon, n_action_steps)
    if config.mode == RtcStrategy.name and not supports_guidance:
        return _stand_in(config, shape)
    return _strategy_class("execution.mode", config.mode, available_strategies())(shape, config)


def _stand_in(config: ExecutionConfig, shape: ChunkShape) -> Strategy:
    if not config.rtc_fallback and shape.horizon == 1:
        raise ConfigurationError(
            "execution.mode rtc: expected a policy that can be guided, this one gives single rows; use sync"
        )
    if not config.rtc_fallback:
        raise ConfigurationError(
            f"execution.mode rtc: expected a policy that can be guided, this one cannot; use {', '.join(_UNGUIDED)} "
            "(blend is the closest), or set rtc.fallback to one of them"
        )
    strategy = _strategy_class("rtc.fallback", config.rtc_fallback, _UNGUIDED)(shape, config)
    strategy.stands_in_for = RtcStrategy.name
    return strategy


def _strategy_class(parameter: str, name: str, choices: tuple[str, ...]) -> type[Strategy]:
    if name not in choices:
        raise ConfigurationError(f"{parameter}: unknown '{name}', {closest(name, choices)}")
    return _STRATEGIES[name]
