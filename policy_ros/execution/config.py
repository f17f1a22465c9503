# SPDX-License-Identifier: Apache-2.0
"""Settings of the execution, validated when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policy_ros.errors import ConfigurationError
from policy_ros.rtc import GuidanceOptions


def _require(holds: bool, name: str, expected: str, value: object) -> None:
    if not holds:
        raise ConfigurationError(f"execution.{name}: expected {expected}, got {value!r}")


@dataclass(frozen=True)
class ExecutionConfig:
    """How chunks are executed.

    Attributes:
        rate_hz: control rate [Hz]; one row is consumed per control tick.
        mode: name of the strategy, see ``available_strategies()``.
        execution_horizon: s, steps executed between two inferences; 0 lets the strategy choose.
        lookahead_steps: rows of a ``Tick.window``, which is the tail a trajectory controller may run on its own.
        max_consecutive_errors: failed inferences in a row (exception, wrong shape, values that are not finite) that
            end in a hold.
        inference_timeout_s: an inference that takes longer counts as hung and ends in a hold [s].
        ensemble_coeff: m of ``ensemble``: the i-th prediction of a step weighs ``exp(-m i)``, 0 the oldest.
        delay_estimator: how the delay to expect follows from measured ones: max, quantile or jacobson_karels.
        delay_window: b, measured delays that max and quantile look at.
        delay_quantile: of the window, 0 to 1.
        guidance: how ``rtc`` guides; ``blend`` takes its schedule.
        rtc_fallback: mode that stands in for ``rtc`` with a policy that cannot be guided; empty: refuse it.
        added_delay_s: every inference lasts so much longer than the policy takes, in real time; for tests and
            demonstrations [s].

    Raises:
        ConfigurationError: a value is out of range.
    """

    rate_hz: float = 50.0
    mode: str = "overlap"
    execution_horizon: int = 0
    lookahead_steps: int = 10
    max_consecutive_errors: int = 3
    inference_timeout_s: float = 10.0
    ensemble_coeff: float = 0.01
    delay_estimator: str = "max"
    delay_window: int = 10
    delay_quantile: float = 0.95
    guidance: GuidanceOptions = GuidanceOptions()
    rtc_fallback: str = ""
    added_delay_s: float = 0.0

    def __post_init__(self) -> None:
        _require(math.isfinite(self.rate_hz) and self.rate_hz > 0.0, "rate_hz", "a positive rate", self.rate_hz)
        _require(self.execution_horizon >= 0, "execution_horizon", "0 (automatic) or more", self.execution_horizon)
        _require(self.lookahead_steps >= 1, "lookahead_steps", "at least 1", self.lookahead_steps)
        _require(self.max_consecutive_errors >= 1, "max_consecutive_errors", "at least 1", self.max_consecutive_errors)
        _require(self.inference_timeout_s > 0.0, "inference_timeout_s", "a positive time", self.inference_timeout_s)
        _require(0.0 <= self.added_delay_s < math.inf, "added_delay_s", "0 or a time", self.added_delay_s)
        _require(math.isfinite(self.ensemble_coeff), "ensemble_coeff", "a finite number", self.ensemble_coeff)
        _require(self.delay_window >= 1, "delay_window", "at least 1", self.delay_window)
        _require(0.0 <= self.delay_quantile <= 1.0, "delay_quantile", "0 to 1", self.delay_quantile)

    @property
    def period_s(self) -> float:
        """dt, the control period [s]."""
        return 1.0 / self.rate_hz

    @property
    def command_s(self) -> float:
        """How long the robot moves on by itself after a command [s]."""
        return self.lookahead_steps * self.period_s
