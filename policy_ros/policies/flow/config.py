# SPDX-License-Identifier: Apache-2.0
"""Options of the flow-matching policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.encoder_config import EncoderConfig
from policy_ros.policies.limits import check_range
from policy_ros.policies.modes import NormalizationMode

_MAX_INFERENCE_STEPS = 1000
_BETA_RANGE = (0.01, 100.0)


def _mean_std() -> dict[FeatureType, NormalizationMode]:
    kinds = (FeatureType.VISUAL, FeatureType.STATE, FeatureType.ENV, FeatureType.ACTION)
    return dict.fromkeys(kinds, NormalizationMode.MEAN_STD)


@dataclass(frozen=True, kw_only=True)
class FlowConfig(EncoderConfig):
    """Options of the flow-matching policy, in LeRobot's layout; the encoder's are those of ACT.

    Attributes:
        chunk_size: H, rows that one prediction returns.
        num_inference_steps: Euler steps from noise to actions. More are slower and closer to what was learnt.
        flow_time_alpha, flow_time_beta: of the Beta distribution that training draws flow times from, 0 for noise and 1
            for actions. 1 and 1 draw uniformly, a larger beta more often near the noise, where ways part.
        optimizer_lr, optimizer_weight_decay, optimizer_lr_backbone: defaults for training.
    """

    supports_guidance: ClassVar[bool] = True
    uses_noise: ClassVar[bool] = True

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_mean_std)
    chunk_size: int = 50
    n_action_steps: int = 50

    pre_norm: bool = True
    dim_model: int = 256
    dim_feedforward: int = 1024
    feedforward_activation: Literal["relu", "gelu", "glu"] = "gelu"
    n_decoder_layers: int = 4
    dropout: float = 0.0

    num_inference_steps: int = 5

    flow_time_alpha: float = 1.0
    flow_time_beta: float = 1.0

    optimizer_lr: float = 1e-4
    optimizer_weight_decay: float = 1e-4
    optimizer_lr_backbone: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("num_inference_steps", self.num_inference_steps, 1, _MAX_INFERENCE_STEPS)
        for name in ("flow_time_alpha", "flow_time_beta"):
            check_range(name, getattr(self, name), *_BETA_RANGE)
        check_range("n_obs_steps (flow looks at one observation)", self.n_obs_steps, 1, 1)
        if self.dim_model % 2:
            raise ConfigurationError(f"dim_model: expected an even number (sines and cosines), got {self.dim_model}")
        if not self.observed_features:
            raise ConfigurationError(
                "input_features: expected an image, observation.state or observation.environment_state, "
                f"got {', '.join(self.input_features)}"
            )
