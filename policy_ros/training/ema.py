# SPDX-License-Identifier: Apache-2.0
"""An exponential moving average of a policy's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from policy_ros.policies.base import Policy

_Tensors = tuple[Tensor, ...] | list[Tensor]


class AveragedPolicy:
    """A second policy whose weights follow the first one's, slowly.

    The decay warms up, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the random weights of the start are
    forgotten within a few hundred steps (as TensorFlow's ExponentialMovingAverage with ``num_updates``).

    Args:
        policy: on its device; the average is kept there too.
        decay: share of the average that an update keeps, in the long run.
    """

    def __init__(self, policy: Policy, decay: float) -> None:
        def update(averages: _Tensors, weights: _Tensors, updates: Tensor | int) -> None:
            count = int(updates)
            torch._foreach_lerp_(list(averages), list(weights), 1.0 - min(decay, (1 + count) / (10 + count)))

        # Buffers are copied, not averaged: they are positions and fixed statistics.
        self._model = AveragedModel(policy, multi_avg_fn=update)
        self._model.requires_grad_(False)
        self._model.eval()

    @property
    def policy(self) -> Policy:
        """The policy with the averaged weights, for inference only."""
        return cast(Policy, self._model.module)

    def update(self, policy: Policy) -> None:
        """Take one step toward the weights of ``policy``."""
        self._model.update_parameters(policy)

    def state_dict(self) -> dict[str, Any]:
        """Weights and number of updates."""
        return dict(self._model.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._model.load_state_dict(state)
