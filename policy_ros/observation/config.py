# SPDX-License-Identifier: Apache-2.0
"""What an observation consists of and how fresh and aligned it must be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, JointScaling
from policy_ros.errors import ConfigurationError

JOINT_STREAM = "joint_states"
ENVIRONMENT_STREAM = "environment_state"
CAMERA_STREAM_PREFIX = "camera/"


@dataclass(frozen=True)
class CameraStream:
    """One camera.

    Attributes:
        name: camera name; its stream is ``camera/<name>``.
        feature: feature key of the checkpoint, e.g. ``observation.images.top``.
        max_age_s: a newest frame older than this starts no inference [s].
        max_rate_hz: the fastest the camera is expected to publish; bounds the frames held, so that a faster one is
            remembered for a shorter time [Hz].
        frozen_after_s: the same picture under new stamps for longer than this counts as frozen; 0: never [s].
        frozen_holds: whether the robot must hold then.
    """

    name: str
    feature: str
    max_age_s: float = 0.3
    max_rate_hz: float = 120.0
    frozen_after_s: float = 0.0
    frozen_holds: bool = False

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return CAMERA_STREAM_PREFIX + self.name


@dataclass(frozen=True)
class VectorStream:
    """A vector beside the joints, e.g. object poses.

    Attributes:
        dim: length of the vector.
        feature: feature key of the checkpoint.
        stream: name of the stream.
        max_age_s: a newest sample older than this starts no inference [s].
        max_rate_hz: the fastest the stream is expected to publish; see the cameras' [Hz].
    """

    dim: int
    feature: str = OBSERVATION_ENVIRONMENT_STATE
    stream: str = ENVIRONMENT_STREAM
    max_age_s: float = 0.3
    max_rate_hz: float = 1000.0


@dataclass(frozen=True)
class ObservationConfig:
    """What an observation consists of and how fresh and aligned its parts must be.

    Attributes:
        joints: J joint names, in the order of the state feature.
        scaling: robot units to policy units, for exactly these joints; None: they are the same.
        state_feature: feature key of the joint vector; None: the policy sees no joints. They are watched all the same.
        cameras: the cameras, any number.
        environment_state: an additional vector, or None.
        joint_max_age_s: a joint older than this starts no inference, and holds the robot [s].
        tail_s: how much longer than its ``max_age_s`` a camera or vector may be silent before the robot holds [s].
        max_skew_s: largest spread of the stamps inside one observation [s].
        future_tolerance_s: a sample stamped further ahead of its arrival is dropped [s].
        n_obs_steps: T; with more than one, features carry a leading time axis.
        dt_s: time between two steps of the history [s].
        joint_max_rate_hz: the fastest that joint states are expected; see the cameras' ``max_rate_hz`` [Hz].
        conflict_tolerance_rad: two sources of one joint conflict when they differ by more than this [rad, m].
        conflict_window_s: they are told from motion by going there and back within this time [s].

    Raises:
        ConfigurationError: a value is out of range, or a name is used twice.
    """

    joints: tuple[str, ...]
    scaling: JointScaling | None = None
    state_feature: str | None = OBSERVATION_STATE
    cameras: tuple[CameraStream, ...] = ()
    environment_state: VectorStream | None = None
    joint_max_age_s: float = 0.2
    tail_s: float = 0.5
    max_skew_s: float = 0.1
    future_tolerance_s: float = 0.1
    n_obs_steps: int = 1
    dt_s: float = 0.02
    joint_max_rate_hz: float = 1000.0
    conflict_tolerance_rad: float = 0.02
    conflict_window_s: float = 0.1

    def __post_init__(self) -> None:
        if not (self.joints or self.cameras or self.environment_state):
            raise ConfigurationError("observation: expected at least one stream, got none; name joints or cameras")
        _require_unique("joints", self.joints)
        _require_unique("cameras", (c.name for c in self.cameras))
        _require_unique("features", self._features())
        if self.n_obs_steps < 1:
            raise ConfigurationError(f"observation: expected n_obs_steps >= 1, got {self.n_obs_steps}")
        for label, value in self._positive_values():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigurationError(f"observation: expected {label} > 0 and finite, got {value}")
        for label, value in (("tail_s", self.tail_s), ("future_tolerance_s", self.future_tolerance_s)):
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"observation: expected {label} >= 0 and finite, got {value}")
        if self.scaling is not None and self.scaling.names != self.joints:
            raise ConfigurationError(
                f"joint scaling: expected the joints {', '.join(self.joints)} in this order, "
                f"got {', '.join(self.scaling.names)}"
            )

    def _features(self) -> list[str]:
        features = [c.feature for c in self.cameras]
        if self.state_feature is not None:
            features.append(self.state_feature)
        if self.environment_state is not None:
            features.append(self.environment_state.feature)
        return features

    def _positive_values(self) -> list[tuple[str, float]]:
        values = [
            ("joint_max_age_s", self.joint_max_age_s),
            ("max_skew_s", self.max_skew_s),
            ("dt_s", self.dt_s),
            ("joint_max_rate_hz", self.joint_max_rate_hz),
            ("conflict_tolerance_rad", self.conflict_tolerance_rad),
            ("conflict_window_s", self.conflict_window_s),
        ]
        for camera in self.cameras:
            values.append((f"max_age_s of {camera.stream}", camera.max_age_s))
            values.append((f"max_rate_hz of {camera.stream}", camera.max_rate_hz))
        if self.environment_state is not None:
            values.append(("dim of the environment state", float(self.environment_state.dim)))
            values.append(("max_age_s of the environment state", self.environment_state.max_age_s))
            values.append(("max_rate_hz of the environment state", self.environment_state.max_rate_hz))
        return values

    def max_ages_s(self) -> dict[str, float]:
        """Stream name to its maximum age [s], for every configured stream."""
        ages = {JOINT_STREAM: self.joint_max_age_s} if self.joints else {}
        ages.update((c.stream, c.max_age_s) for c in self.cameras)
        if self.environment_state is not None:
            ages[self.environment_state.stream] = self.environment_state.max_age_s
        return ages

    @property
    def span_s(self) -> float:
        """How far back a ring must reach [s].

        The anchor may lie one maximum age (and one future tolerance) behind a stream's newest sample, and the history
        starts ``(n_obs_steps - 1) * dt_s`` before the anchor.
        """
        history_s = (self.n_obs_steps - 1) * self.dt_s
        return history_s + max(self.max_ages_s().values()) + self.future_tolerance_s

    def capacity(self, max_rate_hz: float) -> int:
        """Samples that a stream of this rate delivers within ``span_s``, and one on either side."""
        return math.ceil(self.span_s * max_rate_hz) + 2


def _require_unique(label: str, names: Iterable[str]) -> None:
    listed = list(names)
    doubles = sorted({n for n in listed if listed.count(n) > 1})
    if doubles:
        raise ConfigurationError(f"observation: expected every name in {label} once, got twice: {', '.join(doubles)}")
