# SPDX-License-Identifier: Apache-2.0
"""The Gaussian actor as a policy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.sac.config import GaussianActorConfig
from policy_ros.policies.sac.model import Actor, DiscreteCritic, ObservationEncoder
from policy_ros.policies.sac.squashed import draw, log_likelihood

_COMPILED = "._orig_mod."  # what torch.compile puts into names
_OLD_CRITICS = ("critic_ensemble.", "critic_target.")
_NOT_FOR_ACTING = (*_OLD_CRITICS, "discrete_critic_target.", "log_alpha")


class GaussianActorPolicy(Policy):
    """The actor of soft actor-critic (Haarnoja et al. 2018, arXiv:1801.01290): one squashed Gaussian.

    LeRobot 0.6 calls it ``gaussian_actor`` and before that ``sac``; both names load this class. The critics that taught
    it are not needed to act, and are not kept.
    """

    name = "gaussian_actor"
    config_class = GaussianActorConfig
    config: GaussianActorConfig

    def __init__(self, config: GaussianActorConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.encoder_critic = ObservationEncoder(config)
        self.encoder_actor = self.encoder_critic if config.shared_encoder else ObservationEncoder(config)
        self.actor = Actor(config, self.encoder_actor)
        self.discrete_critic: DiscreteCritic | None = None
        if config.num_discrete_actions is not None:
            self.discrete_critic = DiscreteCritic(config, self.encoder_critic, config.num_discrete_actions)
        elif not config.shared_encoder:
            self.encoder_critic.requires_grad_(False)  # kept for LeRobot, which may go on training

    @classmethod
    def weight_name(cls, stored: str) -> str | None:
        """LeRobot 0.6 keeps the actor and the discrete critic, older ones the other critics, too."""
        name = stored.replace(_COMPILED, ".")
        for critic in _OLD_CRITICS:
            if name.startswith(f"{critic}encoder."):  # the name that sorts first where encoders are separate
                return name.replace(critic + "encoder.", "encoder_critic.", 1)
        return None if name.startswith(_NOT_FOR_ACTING) else name

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """One action ``(B, 1, A)``, normalised, drawn with ``noise`` ``(B, 1, A)``; a discrete one is an index."""
        gaussian = self.actor(batch)
        actions = draw(gaussian, self._noise(gaussian.mean, noise))
        if self.discrete_critic is not None:
            index = self.discrete_critic(batch).argmax(dim=-1, keepdim=True)
            actions = torch.cat([actions, index.to(actions.dtype)], dim=-1)
        return actions.unsqueeze(1)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Behaviour cloning: the negative log-likelihood of the demonstrated action.

        With it mean and spread are learnt alike. LeRobot trains this actor against critics, with rewards and on the
        robot; none of that is in a recording.

        Raises:
            TrainingError: there is a discrete action.
        """
        if self.discrete_critic is not None:
            raise TrainingError(f"policy '{self.name}' needs {self.config.unmet_in_recordings}")
        target, valid = batch[ACTION][:, 0], ~batch[ACTION_IS_PAD][:, 0]
        gaussian = self.actor(batch)
        count = valid.sum().clamp_min(1)
        loss = -(log_likelihood(gaussian, target) * valid).sum() / count
        distance = ((torch.tanh(gaussian.mean) - target).abs().mean(-1) * valid).sum() / count
        return loss, {"nll": loss.item(), "l1_of_the_middle": distance.item()}

    def _noise(self, mean: Tensor, noise: Tensor | None) -> Tensor:
        """``(B, A)``."""
        if self.config.deterministic:
            return torch.zeros_like(mean)
        if noise is None:
            return torch.randn_like(mean)
        wanted = (mean.shape[0], *self.config.noise_shape)
        if noise.shape != wanted:
            raise ConfigurationError(f"noise: expected shape {wanted}, got {tuple(noise.shape)}")
        return noise[:, 0]
