# SPDX-License-Identifier: Apache-2.0
"""A policy that draws its noise from a generator of its own, so that an episode can be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policy_ros.rtc import GuidanceOptions

if TYPE_CHECKING:
    from policy_ros.policies.base import Policy
    from policy_ros.policies.config import PolicyConfig
    from policy_ros.policies.inputs import Array, RawObservation


def draw_noise(config: PolicyConfig, generator: np.random.Generator) -> NDArray[np.float32] | None:
    """Standard normal noise that one chunk starts from, ``(1, …)``; None for a policy that uses none."""
    if not config.uses_noise:
        return None
    return generator.standard_normal((1, *config.noise_shape)).astype(np.float32)


class SeededPolicy:
    """What the execution needs of a policy, with noise from a given generator.

    Args:
        policy: shared with others; keeps no state between chunks.
        generator: of the noise, advanced with every chunk.
    """

    def __init__(self, policy: Policy, generator: np.random.Generator) -> None:
        self._policy = policy
        self._generator = generator

    def reset(self) -> None:
        """A new epoch begins; the sequence of noise goes on."""
        self._policy.reset()

    def predict(self, observation: RawObservation, /) -> NDArray[np.float32]:
        """``(H, A)``."""
        return self._policy.predict(observation, noise=draw_noise(self._policy.config, self._generator))

    def guided_inference(
        self,
        observation: RawObservation,
        /,
        *,
        prefix: Array,
        delay: int,
        execution_horizon: int,
        options: GuidanceOptions,
    ) -> NDArray[np.float32]:
        """``(H, A)`` that continue ``prefix``."""
        return self._policy.guided_inference(
            observation,
            prefix=prefix,
            delay=delay,
            execution_horizon=execution_horizon,
            noise=draw_noise(self._policy.config, self._generator),
            options=options,
        )
