# SPDX-License-Identifier: Apache-2.0
"""How long the simulated inferences take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policy_ros.errors import ConfigurationError

SPIKE_EVERY = 8  # inferences


@dataclass(frozen=True)
class DelayModel:
    """Duration of inferences.

    Attributes:
        delay_ms: of every inference [ms].
        jitter: share of ``delay_ms`` by which it varies to either side, evenly distributed, 0 to 1.
        spike_ms: added to every eighth inference [ms], as by another program that takes the processor.

    Raises:
        ConfigurationError: a value is out of range.
    """

    delay_ms: float
    jitter: float = 0.0
    spike_ms: float = 0.0

    def __post_init__(self) -> None:
        for name, value, largest in (
            ("delay_ms", self.delay_ms, 10_000.0),
            ("jitter", self.jitter, 1.0),
            ("spike_ms", self.spike_ms, 10_000.0),
        ):
            if not 0.0 <= value <= largest:
                raise ConfigurationError(f"bench execution: {name}: expected 0 to {largest:g}, got {value:g}")


class DelaySequence:
    """The delays of one episode, one inference after the other.

    Args:
        model: what they are like.
        generator: for the jitter; the sequence is the same for every mode.
    """

    def __init__(self, model: DelayModel, generator: np.random.Generator) -> None:
        self._model = model
        self._generator = generator
        self._count = 0

    def next_ns(self) -> int:
        """Duration of the next inference [ns]."""
        self._count += 1
        varied = self._model.delay_ms * (1.0 + self._model.jitter * self._generator.uniform(-1.0, 1.0))
        spike = self._model.spike_ms if self._count % SPIKE_EVERY == 0 else 0.0
        return round((varied + spike) * 1e6)
