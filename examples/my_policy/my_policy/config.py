# SPDX-License-Identifier: Apache-2.0
"""Options of the policy: what ``config.json`` of its checkpoints may say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.modes import NormalizationMode

_MEAN_STD = dict.fromkeys((FeatureType.VISUAL, FeatureType.STATE, FeatureType.ACTION), NormalizationMode.MEAN_STD)


@dataclass(frozen=True, kw_only=True)
class MyConfig(PolicyConfig):
    """A chunk of H rows, of which ``n_action_steps`` are executed, and the width of the network."""

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=lambda: dict(_MEAN_STD))
    chunk_size: int = 20
    n_action_steps: int = 20
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state_feature is None or len(self.image_features) != 1:
            raise ConfigurationError(
                f"my_policy: expected observation.state and one camera, got {[*self.input_features]}"
            )
