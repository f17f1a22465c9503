# SPDX-License-Identifier: Apache-2.0
"""What to evaluate, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution import available_strategies
from policy_ros.parameters.node import NodeParameters
from policy_ros.simulation import ENVIRONMENT_ID

_MAX_DELAY_MS = 10_000.0


@dataclass(frozen=True)
class EvaluationOptions:
    """Which environment, which episodes, and how chunks become actions.

    Attributes:
        env_id: of an installed environment; never a module.
        episodes: how many; episode i has seed ``seed + i``.
        seed: of the first episode.
        batch_size: environments that are advanced together, with one pass of the network for all; without ``mode``.
        workers: processes; each has a copy of the policy, on one thread.
        mode: of the execution, with the real executor and gate; empty: each chunk's first ``n_action_steps`` rows, one
            chunk after the other, the environment waiting meanwhile.
        delay_ms: how long every inference takes [ms]; needs ``mode``.
        parameters: of the node: rate, limits of the gate, names and units of the joints, features of the cameras.
        rate_hz: control rate [Hz]; 0 takes that of ``parameters``, else 50 for our own environment. Other environments
            have one rate, and refuse another.
        time_limit_s: of an episode [s]; 0 takes 20 s for our own environment, else what the environment declares.
        image_size: (height, width) that our own environment's cameras deliver; None takes those of the policy's
            features. A policy scales what it gets.
        image_noise: of our own environment's cameras, standard deviation in grey levels of 255.
        env_kwargs: further arguments of the environment.

    Raises:
        ConfigurationError: a value is out of range, or there is no such mode.
    """

    env_id: str = ENVIRONMENT_ID
    episodes: int = 50
    seed: int = 0
    batch_size: int = 16
    workers: int = 1
    mode: str = ""
    delay_ms: float = 0.0
    parameters: NodeParameters | None = None
    rate_hz: float = 0.0
    time_limit_s: float = 0.0
    image_size: tuple[int, int] | None = None
    image_noise: float = 1.5
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("seed", 0), ("batch_size", 1), ("workers", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"evaluation: {name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("rate_hz", "time_limit_s", "image_noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"evaluation: {name}: expected 0 or more, got {value}")
        if not 0.0 <= self.delay_ms <= _MAX_DELAY_MS:
            raise ConfigurationError(f"evaluation: delay_ms: expected 0 to {_MAX_DELAY_MS:g}, got {self.delay_ms}")
        modes = available_strategies()
        if self.mode and self.mode not in modes:
            raise ConfigurationError(f"evaluation: unknown mode '{self.mode}', {closest(self.mode, modes)}")
        if self.delay_ms and not self.mode:
            raise ConfigurationError(
                f"evaluation: delay_ms: {self.delay_ms:g} ms needs a mode of execution, one of {', '.join(modes)}: "
                "without one the environment waits for the policy"
            )
