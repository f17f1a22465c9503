# SPDX-License-Identifier: Apache-2.0
"""What a training needs to know of its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from policy_ros.data import FeatureSpec
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.normalization import Statistics
from policy_ros.policies.relative import RelativeActions
from policy_ros.training.loading import Sample, Shard


class TrainingData(Protocol):
    """Samples of a training; the same object, or an equal one, in every process."""

    @property
    def parameters(self) -> NodeParameters:
        """Of the node that the policy is for."""

    @property
    def features(self) -> Mapping[str, FeatureSpec]:
        """Inputs and ``action``, as recorded."""

    @property
    def has_validation(self) -> bool:
        """Whether there are samples that are not trained on."""

    @property
    def summary(self) -> dict[str, Any]:
        """For ``training.json``; equal for equal data."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What people should know about it, a line for each."""

    def statistics(self, config: PolicyConfig, relative: RelativeActions | None) -> Statistics:
        """Of the training samples; of offsets from the state where actions are relative."""

    def training(self, config: PolicyConfig, *, epoch: int, skip: int, shard: Shard) -> Iterable[Sample]:
        """One shard of one epoch, shuffled, without its first ``skip`` samples."""

    def validation(self, config: PolicyConfig, *, samples: int, shard: Shard) -> Iterable[Sample]:
        """One shard of at most this many samples that are not trained on, spread over all of them; always the same."""
