# SPDX-License-Identifier: Apache-2.0
"""The policy: how the network answers and what it learns from. All else is inherited."""

import torch.nn.functional as F

from my_policy.config import MyConfig
from my_policy.model import MyNetwork
from policy_ros.data import ACTION, OBSERVATION_STATE
from policy_ros.policies.base import ACTION_IS_PAD, Policy


class MyPolicy(Policy):
    """Clones demonstrated chunks, by the mean absolute difference."""

    name = "my_policy"
    config_class = MyConfig

    def __init__(self, config, normalization=None):
        super().__init__(config, normalization)
        (self.camera,) = config.image_features
        self.model = MyNetwork(config.state_feature.shape[0], config.chunk_size, config.action_dim, config.width)

    def infer(self, batch, noise):
        """A chunk ``(B, H, A)``."""
        return self.model(batch[OBSERVATION_STATE], batch[self.camera])

    def loss(self, batch):
        """Of the rows that lie within the episode."""
        inside = ~batch[ACTION_IS_PAD].unsqueeze(-1)
        error = F.l1_loss(self.infer(batch, None), batch[ACTION], reduction="none") * inside
        loss = error.sum() / (inside.sum() * error.shape[-1]).clamp_min(1)
        return loss, {"l1_loss": loss.item()}
