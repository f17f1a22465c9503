# SPDX-License-Identifier: Apache-2.0
"""TD-MPC as a policy."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies.base import ACTION_IS_PAD, Policy
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.relative import RelativeActions
from policy_ros.policies.tdmpc.augmentation import shifted
from policy_ros.policies.tdmpc.config import TDMPCConfig
from policy_ros.policies.tdmpc.draws import Draws, GeneratorDraws, GivenDraws
from policy_ros.policies.tdmpc.loss import Recorded, world_model_loss
from policy_ros.policies.tdmpc.model import WorldModel, follow
from policy_ros.policies.tdmpc.planner import Planner

REWARD = "next.reward"
REWARD_IS_PAD = "next.reward_is_pad"
OBSERVATION_IS_PAD = "observation.state_is_pad"


class TDMPCPolicy(Policy):
    """Plans in a learned world model (Hansen et al. 2022, arXiv:2203.04955; offline as in Feng et al. 2023).

    Every plan of ``predict`` starts from nothing: it keeps no state. ``select_action`` starts from the plan before,
    moved on by one step, as LeRobot does.
    """

    name = "tdmpc"
    config_class = TDMPCConfig
    config: TDMPCConfig

    def __init__(self, config: TDMPCConfig, normalization: Normalization | None = None) -> None:
        super().__init__(config, normalization)
        self.model = WorldModel(config)
        self.model_target = deepcopy(self.model).requires_grad_(False)
        self._mean: Tensor | None = None  # of the plan before

    @property
    def relative(self) -> RelativeActions | None:
        """None: what an action means must not depend on when its plan began."""
        return None

    @relative.setter
    def relative(self, relative: RelativeActions | None) -> None:
        if relative is not None:
            raise ConfigurationError(
                "relative actions: expected absolute ones for TD-MPC, whose world model sees actions without the state "
                "that they would be offsets from"
            )

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Chunks ``(B, H, A)``, normalised; ``noise`` ``(B, N)`` is what a plan draws."""
        rows, _ = self._answer(batch, noise, None)
        return rows

    def infer_next(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """As :meth:`infer`, from the mean of the plan before."""
        rows, self._mean = self._answer(batch, noise, self._mean)
        return rows

    def reset(self) -> None:
        """Forget the plan, too."""
        super().reset()
        self._mean = None

    def encode_samples(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adds rewards and what is padding.

        Args:
            batch: observations ``(B, T + 1, *shape)``, the current one and T that follow; ``action`` ``(B, T, A)``;
                ``next.reward`` ``(B, T)``; optionally ``action_is_pad`` and ``next.reward_is_pad`` ``(B, T)`` and
                ``observation.state_is_pad`` ``(B, T + 1)``. T is ``horizon``.

        Raises:
            TrainingError: rewards are missing, or a shape is another one.
        """
        self._check_samples(batch)
        encoded = super().encode_samples(batch)
        encoded[REWARD] = batch[REWARD].to(self.device, torch.float32)
        for key, like in ((REWARD_IS_PAD, encoded[REWARD]), (OBSERVATION_IS_PAD, self._times(batch))):
            given = batch.get(key)
            encoded[key] = torch.zeros_like(like, dtype=torch.bool) if given is None else given.to(self.device)
        return encoded

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Consistency, rewards, values and the policy's regression; images are shifted in training."""
        observations = {key: batch[key].transpose(0, 1) for key in self.config.observed_features}
        if self.training and self.config.max_random_shift_ratio:
            for key in self.config.image_features:
                images = observations[key]
                flat = shifted(images.flatten(0, 1), self.config.max_random_shift_ratio)
                observations[key] = flat.reshape(images.shape)
        seen = ~batch[OBSERVATION_IS_PAD].T
        recorded = Recorded(
            observations,
            batch[ACTION].transpose(0, 1),
            batch[REWARD].T,
            valid=seen[0] & ~batch[ACTION_IS_PAD].T,
            rewarded=~batch[REWARD_IS_PAD].T,
            followed=seen[1:],
        )
        return world_model_loss(self.config, self.model, self.model_target, recorded)

    def after_step(self) -> None:
        """The target network follows."""
        follow(self.model_target, self.model, self.config.target_model_momentum)

    def _answer(
        self, batch: Mapping[str, Tensor], noise: Tensor | None, mean: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Rows ``(B, H, A)``, and the mean of the plan where there is one."""
        config = self.config
        latent = self.model.encode(batch)
        if config.use_mpc:
            plan = Planner(config, self.model).plan(latent, self._draws(latent, noise), mean)
            actions, mean = plan.actions.transpose(0, 1).clamp(-1.0, 1.0), plan.mean
        else:
            actions = self.model.action(latent).unsqueeze(1)
        if config.n_action_repeats > 1:
            actions = actions[:, :1].expand(-1, config.n_action_repeats, -1)
        return actions, mean

    def _draws(self, latent: Tensor, noise: Tensor | None) -> Draws:
        config, batch = self.config, latent.shape[0]
        if noise is None:
            return GeneratorDraws(batch, config.action_dim, latent.device)
        if noise.shape != (batch, *config.noise_shape):
            raise ConfigurationError(f"noise: expected shape {(batch, *config.noise_shape)}, got {tuple(noise.shape)}")
        return GivenDraws(noise, config.action_dim)

    def _times(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Something of shape ``(B, T + 1)``, on the device."""
        shape = (batch[ACTION].shape[0], self.config.horizon + 1)
        return torch.zeros(shape, device=self.device)

    def _check_samples(self, batch: Mapping[str, Tensor]) -> None:
        config = self.config
        if REWARD not in batch:
            raise TrainingError(
                f"samples: expected '{REWARD}' for TD-MPC, which learns from rewards, got {', '.join(batch)}"
            )
        size = batch[ACTION].shape[0]
        wanted = {ACTION: (size, config.horizon, config.action_dim), REWARD: (size, config.horizon)}
        for key, spec in config.observed_features.items():
            wanted[key] = (size, config.horizon + 1, *spec.shape)
        for key, shape in wanted.items():
            got = tuple(batch[key].shape)
            visual = len(shape) == 5  # resized later
            if got[: 3 if visual else None] != shape[: 3 if visual else None]:
                raise TrainingError(
                    f"samples: expected '{key}' of shape {shape} (the current observation and {config.horizon} that "
                    f"follow, horizon={config.horizon}), got {got}"
                )
