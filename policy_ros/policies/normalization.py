# SPDX-License-Identifier: Apache-2.0
"""From robot units to the network's units and back.

A feature's two directions are one object, so that they cannot drift apart. The formulas are those of LeRobot 0.6.1:
MEAN_STD divides by ``std + eps`` and multiplies by ``std``; the range modes map ``[low, high]`` to ``[-1, 1]`` and
replace a range of zero by ``eps``, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import CheckpointError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.modes import NormalizationMode

Statistics = Mapping[str, Mapping[str, Tensor]]  # feature key -> statistic name -> values

DEFAULT_EPS = 1e-8


class FeatureNormalizer(nn.Module):
    """Normalises one feature and back.

    Args:
        key: the feature's name, for messages.
        spec: its type and shape.
        mode: how it is normalised.
        statistics: statistic name to values, ``(n,)`` for a vector, ``(C, 1, 1)`` or ``(C,)`` for an image.
        eps: guards divisions.

    Raises:
        CheckpointError: a statistic that the mode needs is missing, has the wrong shape or is not finite.
    """

    first: Tensor  # mean or low end
    second: Tensor  # standard deviation or high end

    def __init__(
        self, key: str, spec: FeatureSpec, mode: NormalizationMode, statistics: Mapping[str, Tensor], eps: float
    ) -> None:
        super().__init__()
        self.mode = mode
        self.eps = eps
        for buffer, name in zip(("first", "second"), mode.statistics, strict=False):
            # Not persistent: a policy's state_dict holds its network only, as LeRobot's does.
            self.register_buffer(buffer, _statistic(key, spec, mode, name, statistics), persistent=False)

    def normalize(self, value: Tensor) -> Tensor:
        """``(…, *shape)`` in robot units to the network's units."""
        if self.mode is NormalizationMode.IDENTITY:
            return value
        if self.mode is NormalizationMode.MEAN_STD:
            return (value - self.first) / (self.second + self.eps)
        return 2.0 * (value - self.first) / self._range() - 1.0

    def unnormalize(self, value: Tensor) -> Tensor:
        """``(…, *shape)`` in the network's units to robot units."""
        if self.mode is NormalizationMode.IDENTITY:
            return value
        if self.mode is NormalizationMode.MEAN_STD:
            return value * self.second + self.first
        return (value + 1.0) / 2.0 * self._range() + self.first

    def statistics(self) -> dict[str, Tensor]:
        """The statistics in use, by name, on the CPU."""
        return {n: getattr(self, b).cpu() for b, n in zip(("first", "second"), self.mode.statistics, strict=False)}

    def _range(self) -> Tensor:
        span = self.second - self.first
        return torch.where(span == 0, torch.full_like(span, self.eps), span)


class Normalization(nn.Module):
    """The normalisers of all inputs and of the action of one policy.

    Args:
        config: features and modes.
        statistics: feature key to its statistics; more than needed is fine.
        eps: guards divisions.

    Raises:
        CheckpointError: a needed statistic is missing or unusable; the message names feature and statistic.
    """

    def __init__(self, config: PolicyConfig, statistics: Statistics, eps: float = DEFAULT_EPS) -> None:
        super().__init__()
        self.eps = eps
        self._index = {key: str(i) for i, key in enumerate([*config.observed_features, *config.output_features])}
        # A ModuleDict refuses the dots of feature keys, hence the index.
        self._features = nn.ModuleDict()
        for key, index in self._index.items():
            spec = config.output_features.get(key) or config.input_features[key]
            self._features[index] = FeatureNormalizer(key, spec, config.mode(spec.type), statistics.get(key, {}), eps)

    @classmethod
    def identity(cls, config: PolicyConfig) -> Normalization:
        """Statistics under which every mode maps a value to itself, for a policy that has seen no data yet.

        They are real statistics, recorded in a saved checkpoint like any other, not the absence of them.
        """
        plain = {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0, "q01": -1.0, "q99": 1.0, "q10": -1.0, "q90": 1.0}
        features = {**config.input_features, **config.output_features}
        return cls(
            config,
            {k: {n: torch.full(_statistic_shape(spec), v) for n, v in plain.items()} for k, spec in features.items()},
        )

    def normalize(self, key: str, value: Tensor) -> Tensor:
        """``(…, *shape)`` of feature ``key``, robot units to the network's."""
        return self._of(key).normalize(value)

    def unnormalize(self, key: str, value: Tensor) -> Tensor:
        """``(…, *shape)`` of feature ``key``, the network's units to robot units."""
        return self._of(key).unnormalize(value)

    def statistics(self) -> dict[str, dict[str, Tensor]]:
        """Feature key to the statistics in use, on the CPU; features with mode IDENTITY have none."""
        found = {key: self._of(key).statistics() for key in self._index}
        return {key: values for key, values in found.items() if values}

    def _of(self, key: str) -> FeatureNormalizer:
        module = self._features[self._index[key]]
        assert isinstance(module, FeatureNormalizer)
        return module


def _statistic_shape(spec: FeatureSpec) -> tuple[int, ...]:
    return (spec.shape[0], 1, 1) if spec.type is FeatureType.VISUAL else spec.shape


def _statistic(
    key: str, spec: FeatureSpec, mode: NormalizationMode, name: str, statistics: Mapping[str, Tensor]
) -> Tensor:
    """One statistic, checked, as float32 in the shape that broadcasts over the feature."""
    if name not in statistics:
        has = ", ".join(sorted(statistics)) or "none"
        raise CheckpointError(f"statistics of '{key}': {mode.value} needs '{name}', got {has}")
    value = torch.as_tensor(statistics[name], dtype=torch.float32)
    wanted = _statistic_shape(spec)
    if tuple(value.shape) not in (wanted, spec.shape[:1]):
        raise CheckpointError(f"statistics of '{key}': expected '{name}' of shape {wanted}, got {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        raise CheckpointError(
            f"statistics of '{key}': '{name}' is not finite, so it was never set during training; "
            "write the data set's statistics into the checkpoint"
        )
    return value.reshape(wanted).clone()
