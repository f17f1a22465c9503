# SPDX-License-Identifier: Apache-2.0
"""Between what a robot says and does and what a network sees and answers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from policy_ros.data import ACTION, OBSERVATION_STATE, TASK, FeatureType
from policy_ros.errors import ObservationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.inputs import image_to_float
from policy_ros.policies.normalization import Normalization
from policy_ros.policies.relative import RelativeActions


class Units(nn.Module):
    """Both directions of one policy: robot units, absolute, to the network's, normalised and perhaps relative.

    Args:
        config: features.
        normalization: of all of them.

    Attributes:
        relative: set where actions are offsets from the state; None where they are absolute.
    """

    def __init__(self, config: PolicyConfig, normalization: Normalization) -> None:
        super().__init__()
        self.config = config
        self.normalization = normalization
        self.relative: RelativeActions | None = None

    def encode(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Observations: feature key to ``(B, *shape)`` or ``(B, T, *shape)``, images uint8 or float in 0 to 1.

        The tokens of a task have no units and stay as they are.
        """
        return {key: value if key == TASK else self._encode_feature(key, value) for key, value in batch.items()}

    def anchor(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """The newest states ``(B, n)`` of not yet encoded observations, which actions are offsets from, if they are."""
        if self.relative is None:
            return None
        state = batch[OBSERVATION_STATE].float()
        return state if state.dim() == 2 else state[:, -1]

    def to_network(self, actions: Tensor, anchor: Tensor | None) -> Tensor:
        """Rows ``(B, N, A)`` in robot units, for the observations that ``anchor`` is of."""
        actions, discrete = self._split(actions)
        if self.relative is not None:
            actions = self.relative.to_relative(actions, _known(anchor))
        return torch.cat([self.normalization.normalize(ACTION, actions), discrete], dim=-1)

    def to_robot(self, actions: Tensor, anchor: Tensor | None) -> Tensor:
        """Inverse of :meth:`to_network`; ``anchor`` is that of the observations that the rows were predicted from."""
        actions, discrete = self._split(actions)
        actions = self.normalization.unnormalize(ACTION, actions)
        if self.relative is not None:
            actions = self.relative.to_absolute(actions, _known(anchor))
        return torch.cat([actions, discrete], dim=-1)

    def _split(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Columns that have units, and those behind them, which are indices of discrete actions."""
        count = self.config.output_features[ACTION].shape[0]
        return actions[..., :count], actions[..., count:]

    def _encode_feature(self, key: str, value: Tensor) -> Tensor:
        spec = self.config.input_features[key]
        if spec.type is FeatureType.VISUAL:
            value = image_to_float(value, (spec.shape[1], spec.shape[2]))
        return self.normalization.normalize(key, value.float())


def _known(anchor: Tensor | None) -> Tensor:
    if anchor is None:  # an offset must never be taken for a position
        raise ObservationError("relative actions: expected the state that they are offsets from, got none")
    return anchor
