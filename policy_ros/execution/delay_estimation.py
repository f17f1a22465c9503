# SPDX-License-Identifier: Apache-2.0
"""The delay to expect of the next inference, from those of the newest ones. Every estimate comes down after a spike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from math import ceil

import numpy as np

from policy_ros.errors import ConfigurationError, closest
from policy_ros.execution.config import ExecutionConfig
from policy_ros.execution.delay import MeasuredDelay

_TENTH = 0.1  # of a step


class DelayEstimator(ABC):
    """Learns from measured delays. What compiles or fills caches is not to be recorded: it does not happen again."""

    @abstractmethod
    def record(self, delay: MeasuredDelay) -> None:
        """Add the delay of a chunk that took over."""

    @abstractmethod
    def estimate(self) -> int | None:
        """d to expect [steps]; None before the first measurement."""


class _Window(DelayEstimator):
    def __init__(self, capacity: int) -> None:
        self._delays: deque[int] = deque(maxlen=capacity)

    def record(self, delay: MeasuredDelay) -> None:
        self._delays.append(delay.needed)


class MaxDelay(_Window):
    """The largest of the newest b delays: cautious, and over a spike after b inferences.

    Source: the buffer Q of Algorithm 1 in Black, Galliker, Levine, arXiv 2506.07339 (b = 10).

    Args:
        capacity: b.
    """

    def estimate(self) -> int | None:
        """The maximum."""
        return max(self._delays, default=None)


class QuantileDelay(_Window):
    """A quantile of the newest b delays, rounded up to one that was measured: lets rare spikes pass.

    Args:
        capacity: b.
        quantile: between 0 and 1.
    """

    def __init__(self, capacity: int, quantile: float) -> None:
        super().__init__(capacity)
        self._quantile = quantile

    def estimate(self) -> int | None:
        """The quantile."""
        return int(np.quantile(self._delays, self._quantile, method="higher")) if self._delays else None


class JacobsonKarelsDelay(DelayEstimator):
    """Smoothed delay plus four times its smoothed deviation, as TCP estimates its retransmission timeout.

    Rises at once with the jitter and falls exponentially, without a window to wait for.

    Source: Jacobson and Karels, "Congestion Avoidance and Control", 1988; gains 1/8 and 1/4 of RFC 6298.
    """

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def record(self, delay: MeasuredDelay) -> None:
        """Update mean and deviation."""
        if self._mean is None:
            self._mean, self._deviation = float(delay.needed), delay.needed / 2.0
            return
        error = delay.needed - self._mean
        self._deviation += (abs(error) - self._deviation) / 4.0
        self._mean += error / 8.0

    def estimate(self) -> int | None:
        """Mean plus four deviations, rounded up; what is left of an old spike after long does not count."""
        if self._mean is None:
            return None
        return ceil(self._mean + 4.0 * self._deviation - _TENTH)


DELAY_ESTIMATORS = ("max", "quantile", "jacobson_karels")


def make_delay_estimator(config: ExecutionConfig) -> DelayEstimator:
    """The estimator that ``config.delay_estimator`` names.

    Raises:
        ConfigurationError: unknown name.
    """
    if config.delay_estimator == "max":
        return MaxDelay(config.delay_window)
    if config.delay_estimator == "quantile":
        return QuantileDelay(config.delay_window, config.delay_quantile)
    if config.delay_estimator == "jacobson_karels":
        return JacobsonKarelsDelay()
    raise ConfigurationError(
        f"execution.delay_estimator: unknown '{config.delay_estimator}', "
        f"{closest(config.delay_estimator, DELAY_ESTIMATORS)}"
    )
