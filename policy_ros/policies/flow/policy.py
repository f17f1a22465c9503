# SPDX-License-Identifier: Apache-2.0
"""Flow matching as a policy: the smallest one that real-time chunking can guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.flow.config import FlowConfig
from policy_ros.policies.flow.model import FlowNetwork
from policy_ros.policies.guidance import Target
from policy_ros.policies.nn.observation_encoder import Inputs
from policy_ros.policies.normalization import Normalization
from policy_ros.rtc import guided_velocity


class FlowPolicy(Policy):
    """Learns the velocity from noise to demonstrated chunks and follows it (Lipman et al. 2022, arXiv:2210.02747).

    On the straight way ``x = tau A + (1 - tau) noise`` the velocity is ``A - noise``.
    """

    name = "flow"
    config_class = FlowConfig
    config: FlowConfig

    def __init__(self, config: FlowConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.model = FlowNetwork(config)

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``, normalised, from ``noise`` ``(B, H, A)``."""
        return self._follow(batch, noise, lambda velocity, x, tau: velocity(x, tau))

    def infer_guided(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target) -> Tensor:
        """As :meth:`infer`, each step bent toward the target."""

        def bend(velocity: Callable[[Tensor, float], Tensor], x: Tensor, tau: float) -> Tensor:
            options = target.options
            return guided_velocity(
                velocity, x, tau, target.prefix, target.weights, options.max_weight, options.jacobian
            )

        return self._follow(batch, noise, bend)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of the velocity at random flow times."""
        target, valid = batch[ACTION], ~batch[ACTION_IS_PAD].unsqueeze(-1)
        noise = torch.randn_like(target)
        tau = self._draw_flow_times(target)
        at = tau[:, None, None]
        memory = self.model.encode(Inputs.of(batch, self.config))
        velocity = self.model.velocity(at * target + (1.0 - at) * noise, tau, memory)
        error = (velocity - (target - noise)).square() * valid
        mean = error.sum() / (valid.sum() * target.shape[-1]).clamp_min(1)
        return mean, {"flow_loss": mean.item()}

    def _draw_flow_times(self, target: Tensor) -> Tensor:
        """``(B,)`` flow times for chunks ``(B, H, A)``."""
        shape = (self.config.flow_time_alpha, self.config.flow_time_beta)
        alpha, beta = (torch.full(target.shape[:1], value, device=target.device) for value in shape)
        return torch.distributions.Beta(alpha, beta).sample()

    def _follow(
        self,
        batch: Mapping[str, Tensor],
        noise: Tensor | None,
        step: Callable[[Callable[[Tensor, float], Tensor], Tensor, float], Tensor],
    ) -> Tensor:
        """Euler steps from noise to actions; the observation is encoded once."""
        inputs = Inputs.of(batch, self.config)
        shape = (inputs.batch_size, self.config.chunk_size, self.config.action_dim)
        if noise is None:
            noise = torch.randn(shape, device=self.device)
        elif noise.shape != shape:
            raise ConfigurationError(f"noise: expected shape {shape}, got {tuple(noise.shape)}")
        memory = self.model.encode(inputs)

        def velocity(x: Tensor, tau: float) -> Tensor:
            return self.model.velocity(x, x.new_full(x.shape[:1], tau), memory)

        x, steps = noise, self.config.num_inference_steps
        for index in range(steps):
            x = x + step(velocity, x, index / steps) / steps
        return x
