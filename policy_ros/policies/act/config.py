# SPDX-License-Identifier: Apache-2.0
"""Options of ACT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.modes import NormalizationMode


def _mean_std() -> dict[FeatureType, NormalizationMode]:
    kinds = (FeatureType.VISUAL, FeatureType.STATE, FeatureType.ACTION)
    return dict.fromkeys(kinds, NormalizationMode.MEAN_STD)


@dataclass(frozen=True, kw_only=True)
class ACTConfig(PolicyConfig):
    """Options of ACT; names and defaults are LeRobot's.

    Attributes:
        chunk_size: H, rows that one prediction returns.
        vision_backbone: network that turns an image into a feature map.
        pretrained_backbone_weights: where LeRobot's training started from; kept for the record, since a checkpoint
            brings its own weights. Fresh policies start from random weights, so there it must be None.
        replace_final_stride_with_dilation: feature maps of 1/16 instead of 1/32 of the image; resnet50 only.
        pre_norm: normalise before instead of after each sub-layer.
        use_vae: train with a latent that encodes the demonstrated chunk; at inference the latent is zero.
        temporal_ensemble_coeff: None, or the rate m of the weights ``exp(-m i)``; needs ``n_action_steps == 1``.
        kl_weight: weight of the latent's KL divergence in the loss.
        optimizer_lr, optimizer_weight_decay, optimizer_lr_backbone: defaults for training.
    """

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_mean_std)
    chunk_size: int = 100
    n_action_steps: int = 100

    vision_backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    pretrained_backbone_weights: str | None = None
    replace_final_stride_with_dilation: bool = False

    pre_norm: bool = False
    dim_model: int = 512
    n_heads: int = 8
    dim_feedforward: int = 3200
    feedforward_activation: Literal["relu", "gelu", "glu"] = "relu"
    n_encoder_layers: int = 4
    n_decoder_layers: int = 1

    use_vae: bool = True
    latent_dim: int = 32
    n_vae_encoder_layers: int = 4

    temporal_ensemble_coeff: float | None = None

    dropout: float = 0.1
    kl_weight: float = 10.0

    optimizer_lr: float = 1e-5
    optimizer_weight_decay: float = 1e-4
    optimizer_lr_backbone: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dim_model", "dim_feedforward", "latent_dim", "n_heads"):
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for name in ("n_encoder_layers", "n_decoder_layers", "n_vae_encoder_layers"):
            check_range(name, getattr(self, name), 1, MAX_LAYERS)
        check_range("dropout", self.dropout, 0.0, 1.0)
        check_range("n_obs_steps (ACT looks at one observation)", self.n_obs_steps, 1, 1)
        self._check_sizes()
        self._check_combinations()

    def _check_sizes(self) -> None:
        if self.dim_model % self.n_heads:
            raise ConfigurationError(f"dim_model: expected a multiple of n_heads={self.n_heads}, got {self.dim_model}")
        if self.image_features and self.dim_model % 4:
            raise ConfigurationError(
                f"dim_model: expected a multiple of 4 (sine and cosine of row and column), got {self.dim_model}"
            )
        if self.feedforward_activation == "glu":
            raise ConfigurationError(
                "feedforward_activation: expected relu or gelu; glu halves the width that the next layer expects, "
                "so no ACT with it can be computed"
            )

    def _check_combinations(self) -> None:
        if not self.image_features and self.environment_feature is None:
            raise ConfigurationError(
                "input_features: expected at least one image or observation.environment_state, "
                f"got {', '.join(self.input_features)}"
            )
        if self.replace_final_stride_with_dilation and self.vision_backbone != "resnet50":
            raise ConfigurationError(
                f"replace_final_stride_with_dilation: expected vision_backbone resnet50, got {self.vision_backbone}"
            )
        if self.temporal_ensemble_coeff is not None and self.n_action_steps != 1:
            raise ConfigurationError(
                f"n_action_steps: expected 1 with temporal_ensemble_coeff set, got {self.n_action_steps}; "
                "the ensemble needs a prediction at every step"
            )
