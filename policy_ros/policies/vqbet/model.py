# SPDX-License-Identifier: Apache-2.0
"""The network of VQ-BeT (Lee et al. 2024, arXiv:2403.03181, figure 2).

    image, state, ?     image, state, ?     …     image, state, ?     ?     ?       T observations, then the future
       │     │    │        │     │    │              │     │    │     │     │
       └─────┴────┴────────┴─────┴────┴──────────────┴─────┴────┴─────┴─────┴─► GPT
                  │                   │                         │     │     │
               answer              answer                    answer answer answer  ─► action head ─► a chunk for each

The chunk of the newest observation is the one that is executed. Parameter names are LeRobot's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.data import OBSERVATION_STATE
from policy_ros.policies.nn.gpt import GPT
from policy_ros.policies.nn.keypoint_encoder import KeypointEncoder
from policy_ros.policies.nn.mlp import mlp
from policy_ros.policies.vqbet.config import VQBeTConfig
from policy_ros.policies.vqbet.head import ActionHead


class Inputs(NamedTuple):
    """What the network sees, oldest first: images ``(B, T, 3, H, W)`` and states ``(B, T, n)``."""

    images: Tensor
    states: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor], config: VQBeTConfig) -> Inputs:
        """From feature key to values, which have no axis T where there is one observation."""
        (key,) = config.image_features
        images, states = batch[key], batch[OBSERVATION_STATE]
        if states.dim() == 2:
            images, states = images.unsqueeze(1), states.unsqueeze(1)
        return cls(images, states)


class VQBeT(nn.Module):
    """Chunks of normalised actions from normalised inputs.

    Args:
        config: options.
    """

    select_target_actions_indices: Tensor

    def __init__(self, config: VQBeTConfig) -> None:
        super().__init__()
        self._config = config
        self.rgb_encoder = KeypointEncoder(config.image_encoder)
        self.action_token = nn.Parameter(torch.randn(1, 1, config.gpt_input_dim))
        state = config.state_feature
        assert state is not None  # the configuration checks
        self.state_projector = mlp(state.shape[0], config.gpt_input_dim)
        self.rgb_feature_projector = mlp(self.rgb_encoder.out_channels, config.gpt_input_dim)
        self.policy = GPT(config.gpt_shape)
        self.action_head = ActionHead(config)
        rows = torch.arange(config.questions)[:, None] + torch.arange(config.action_chunk_size)
        self.register_buffer("select_target_actions_indices", rows)

    def answers(self, inputs: Inputs) -> Tensor:
        """What the transformer says to each question: ``(B, T + p - 1, D)``."""
        images, states = inputs
        batch, steps = states.shape[:2]
        seen = self.rgb_feature_projector(self.rgb_encoder(images.flatten(0, 1)).unflatten(0, (batch, steps)))
        question = self.action_token.expand(batch, steps, -1)
        past = torch.stack((seen, self.state_projector(states), question), dim=2).flatten(1, 2)
        future = self.action_token.expand(batch, self._config.n_action_pred_token - 1, -1)
        said: Tensor = self.policy(torch.cat((past, future), dim=1))
        # As far apart as LeRobot looks for them: a token for each input, be it used or not, and the question.
        inputs_per_step = len(self._config.input_features)
        answered = said[:, inputs_per_step :: inputs_per_step + 1][:, :steps]
        return torch.cat((answered, said[:, past.shape[1] :]), dim=1)

    def chunks(self, inputs: Inputs, noise: Tensor | None) -> Tensor:
        """The chunk ``(B, W, A)`` of the newest observation; ``noise`` ``(B, 2)`` decides its codes."""
        answers, newest = self.answers(inputs), self._config.n_obs_steps - 1
        if noise is None:
            # Codes are drawn for all questions, as LeRobot does: the same seed gives the same codes.
            codes = self.action_head.choose(answers.flatten(0, 1)).codes.view(*answers.shape[:2], -1)[:, newest]
        else:
            codes = self.action_head.choose(answers[:, newest], noise).codes
        predicted: Tensor = self.action_head.chunks(answers[:, newest], codes).predicted
        return predicted

    def loss(self, inputs: Inputs, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Of all chunks, given the rows ``(B, T + p + W - 2, A)`` that they are cut from."""
        chunks = target[:, self.select_target_actions_indices]  # (B, T + p - 1, W, A)
        return self.action_head.loss(self.answers(inputs).flatten(0, 1), chunks.flatten(0, 1))
