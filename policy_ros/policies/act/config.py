# SPDX-License-Identifier: Apache-2.0
"""Options of ACT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.encoder_config import EncoderConfig
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.modes import NormalizationMode


def _mean_std() -> dict[FeatureType, NormalizationMode]:
    kinds = (FeatureType.VISUAL, FeatureType.STATE, FeatureType.ACTION)
    return dict.fromkeys(kinds, NormalizationMode.MEAN_STD)


@dataclass(frozen=True, kw_only=True)
class ACTConfig(EncoderConfig):
    """Options of ACT; names and defaults are LeRobot's.

    Attributes:
        chunk_size: H, rows that one prediction returns.
        use_vae: train with a latent that encodes the demonstrated chunk; at inference the latent is zero.
        temporal_ensemble_coeff: None, or the rate m of the weights ``exp(-m i)``; needs ``n_action_steps == 1``.
        kl_weight: weight of the latent's KL divergence in the loss.
        optimizer_lr, optimizer_weight_decay, optimizer_lr_backbone: defaults for training.
    """

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_mean_std)
    chunk_size: int = 100
    n_action_steps: int = 100

    use_vae: bool = True
    latent_dim: int = 32
    n_vae_encoder_layers: int = 4

    temporal_ensemble_coeff: float | None = None

    kl_weight: float = 10.0

    optimizer_lr: float = 1e-5
    optimizer_weight_decay: float = 1e-4
    optimizer_lr_backbone: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("latent_dim", self.latent_dim, 1, MAX_WIDTH)
        check_range("n_vae_encoder_layers", self.n_vae_encoder_layers, 1, MAX_LAYERS)
        check_range("n_obs_steps (ACT looks at one observation)", self.n_obs_steps, 1, 1)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if not self.image_features and self.environment_feature is None:
            raise ConfigurationError(
                "input_features: expected at least one image or observation.environment_state, "
                f"got {', '.join(self.input_features)}"
            )
        if self.temporal_ensemble_coeff is not None and self.n_action_steps != 1:
            raise ConfigurationError(
                f"n_action_steps: expected 1 with temporal_ensemble_coeff set, got {self.n_action_steps}; "
                "the ensemble needs a prediction at every step"
            )
