# SPDX-License-Identifier: Apache-2.0
"""What travels between the rooms: frozen values with shapes and units.

Legend: B batch, H horizon (rows in a chunk), A action dimension, T time (history), stamps in nanoseconds of one clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError

AnyArray = NDArray[Any]

OBSERVATION_STATE = "observation.state"
OBSERVATION_ENVIRONMENT_STATE = "observation.environment_state"
OBSERVATION_IMAGE_PREFIX = "observation.images."
ACTION = "action"
TASK = "task"


class FeatureType(str, Enum):
    """Kind of a feature, spelled as in LeRobot's ``config.json``."""

    STATE = "STATE"
    VISUAL = "VISUAL"
    ENV = "ENV"
    ACTION = "ACTION"


@dataclass(frozen=True)
class FeatureSpec:
    """Type and shape of one feature; images are ``(3, H, W)``, vectors ``(n,)``."""

    type: FeatureType
    shape: tuple[int, ...]


def _frozen_array(array: AnyArray) -> AnyArray:
    view: AnyArray = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True)
class Observation:
    """One aligned observation, as a policy sees it.

    Attributes:
        features: checkpoint feature key to array; images ``(3, H, W)`` uint8 RGB, vectors ``(n,)`` float32 in policy
            units, ``task`` a string. With ``n_obs_steps > 1`` arrays carry a leading time axis, oldest first.
        stamps_ns: stream name (``joint_states``, ``camera/<name>``, …) to the stamp of its newest sample used.
        stamp_ns: the anchor, i.e. the oldest of the newest samples.
    """

    features: Mapping[str, AnyArray | str]
    stamps_ns: Mapping[str, int]
    stamp_ns: int

    def __post_init__(self) -> None:
        frozen = {k: v if isinstance(v, str) else _frozen_array(v) for k, v in self.features.items()}
        object.__setattr__(self, "features", MappingProxyType(frozen))
        object.__setattr__(self, "stamps_ns", MappingProxyType(dict(self.stamps_ns)))


@dataclass(frozen=True)
class ActionChunk:
    """H rows of actions for consecutive control steps, in robot units (SI).

    Attributes:
        actions: ``(H, A)`` float32; row ``i`` belongs to absolute step ``first_step + i``.
        first_step: absolute step, within the epoch, at which the observation was taken.
        epoch: increases with every reset or swap; a chunk of an old epoch is never executed.
        sequence: running number of the chunk since activation.
        delay_steps: steps that were consumed while this chunk was computed (known once it took over).
        execution_horizon: steps executed between two inferences when this chunk was requested.
        observation_stamps_ns: stamps of the observation it was computed from.
        inference_s: wall time of the inference [s]; feeds diagnostics only.
        guided: whether the policy was guided to continue the chunk before.
    """

    actions: NDArray[np.float32]
    first_step: int
    epoch: int
    sequence: int
    execution_horizon: int
    delay_steps: int = 0
    observation_stamps_ns: Mapping[str, int] = field(default_factory=dict)
    inference_s: float = 0.0
    guided: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", _frozen_array(self.actions))
        object.__setattr__(self, "observation_stamps_ns", MappingProxyType(dict(self.observation_stamps_ns)))

    @property
    def horizon(self) -> int:
        """H, the number of rows."""
        return int(self.actions.shape[0])

    @property
    def end_step(self) -> int:
        """First absolute step after the last row."""
        return self.first_step + self.horizon


@dataclass(frozen=True)
class StreamHealth:
    """Freshness of all input streams at one moment.

    Attributes:
        ages_s: stream to age of its newest sample [s]; ``inf`` when nothing was ever received.
        stale: streams too old to start an inference from.
        expired: streams so old that the robot must hold now.
        frozen: streams with new stamps but the same content for so long that the robot must hold now.
    """

    ages_s: Mapping[str, float]
    stale: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether nothing is wrong with any stream."""
        return not (self.stale or self.expired or self.frozen)


@dataclass(frozen=True)
class JointScaling:
    """Converts between robot units (SI) and the units a policy was trained in: ``policy = robot * scale + offset``.

    Both directions live here, so that they cannot drift apart. ``scale`` and ``offset`` are ``(A,)`` and in the order
    of ``names``. Checkpoints trained on ROS data need none (scale 1, offset 0); others count in degrees or percent.

    Raises:
        ConfigurationError: lengths differ, a scale is zero, or a value is not finite.
    """

    names: tuple[str, ...]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __post_init__(self) -> None:
        for label, values in (("scale", self.scale), ("offset", self.offset)):
            array = np.asarray(values, dtype=np.float64)
            if array.shape != (len(self.names),):
                raise ConfigurationError(
                    f"joint {label}: expected one value for each of {len(self.names)} joints "
                    f"({', '.join(self.names)}), got shape {array.shape}"
                )
            if not np.all(np.isfinite(array)):
                raise ConfigurationError(f"joint {label}: expected finite values, got {array.tolist()}")
            object.__setattr__(self, label, _frozen_array(array))
        if np.any(self.scale == 0.0):
            raise ConfigurationError(f"joint scale: expected non-zero values, got {self.scale.tolist()}")

    @classmethod
    def identity(cls, names: tuple[str, ...]) -> JointScaling:
        """Policy units are robot units."""
        return cls(names, np.ones(len(names)), np.zeros(len(names)))

    def to_policy(self, robot: AnyArray) -> NDArray[np.float32]:
        """Robot units ``(…, A)`` to policy units, float32."""
        return np.asarray(robot * self.scale + self.offset, dtype=np.float32)

    def to_robot(self, policy: AnyArray) -> NDArray[np.float32]:
        """Policy units ``(…, A)`` to robot units, float32."""
        return np.asarray((policy - self.offset) / self.scale, dtype=np.float32)
