# SPDX-License-Identifier: Apache-2.0
"""A policy with known dynamics: a flow in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policy_ros.bench.execution.expert import Expert
from policy_ros.bench.execution.mixture import MixtureFlow
from policy_ros.bench.execution.task import HORIZON, JOINTS
from policy_ros.data import OBSERVATION_STATE
from policy_ros.rtc import GuidanceOptions, guided_velocity, inference_weights

Features = Mapping[str, NDArray[Any] | str]

_UNIT_RAD = 0.1  # of normalised actions, about their deviation over all that the expert does


class MixturePolicy:
    """Samples the expert's ways on from the measured position, as a policy would that learnt them perfectly.

    Before a fork consecutive chunks may choose different ways. Normalised actions are relative to the position.

    Args:
        expert: whom it imitates.
        denoising_steps: n, Euler steps from noise to action.
        noise: of the inferences, in their order.
    """

    def __init__(self, expert: Expert, *, denoising_steps: int, noise: np.random.Generator) -> None:
        self._expert = expert
        self._steps = denoising_steps
        self._noise = noise
        self._flow = MixtureFlow(torch.from_numpy(expert.covariance) / _UNIT_RAD**2)

    def reset(self) -> None:
        """Nothing is kept between inferences but the sequence of noise."""

    def predict(self, observation: Features, /) -> NDArray[np.float32]:
        """``(H, A)`` [rad]."""
        position, velocity = self._field(observation)
        return self._denoise(position, velocity)

    def guided_inference(
        self,
        observation: Features,
        /,
        *,
        prefix: NDArray[np.float32],
        delay: int,
        execution_horizon: int,
        options: GuidanceOptions,
    ) -> NDArray[np.float32]:
        """``(H, A)`` [rad] that continue ``prefix`` ``(N, A)``; see :func:`policy_ros.rtc.guided_velocity`."""
        position, velocity = self._field(observation)
        known = torch.from_numpy((prefix - position) / _UNIT_RAD)
        weights = inference_weights(
            delay=delay,
            execution_horizon=execution_horizon,
            horizon=HORIZON,
            rows=len(prefix),
            schedule=options.schedule,
        )

        def guided(x: Tensor, tau: float) -> Tensor:
            return guided_velocity(velocity, x, tau, known, weights, options.max_weight, options.jacobian)

        return self._denoise(position, guided)

    def _field(self, observation: Features) -> tuple[NDArray[np.float64], Callable[[Tensor, float], Tensor]]:
        """The observed position ``(A,)`` and the velocity field for it."""
        position = np.asarray(observation[OBSERVATION_STATE], dtype=np.float64)
        found = self._expert.continuations(position)
        means = torch.from_numpy((found.means - position) / _UNIT_RAD)
        log_weights = torch.from_numpy(found.log_weights)
        return position, lambda x, tau: self._flow.velocity(x, tau, means, log_weights)

    def _denoise(
        self, position: NDArray[np.float64], velocity: Callable[[Tensor, float], Tensor]
    ) -> NDArray[np.float32]:
        x = torch.from_numpy(self._noise.standard_normal((HORIZON, len(JOINTS))))
        for step in range(self._steps):
            x = x + velocity(x, step / self._steps) / self._steps
        return (position + _UNIT_RAD * x.numpy()).astype(np.float32)
