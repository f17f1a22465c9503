# SPDX-License-Identifier: Apache-2.0
"""What a data set is: bags, how samples are cut out of them, and which moments of them are samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import (
    ACTION,
    OBSERVATION_ENVIRONMENT_STATE,
    OBSERVATION_STATE,
    FeatureSpec,
    FeatureType,
)
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.parameters.build import camera_feature, state_names
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.features import IMAGE_CHANNELS
from policy_ros.policies.limits import MAX_HORIZON, MAX_IMAGE_SIDE, MAX_OBS_STEPS, check_range

if TYPE_CHECKING:
    from policy_ros.bags import Episode


class DatasetError(PolicyRosError):
    """Bags cannot be one data set. The message names the bag and, where there is one, the topic."""


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """How samples are cut out of bags.

    Attributes:
        chunk_size: H, rows of actions in a sample, from the one that follows the observation on.
        past_rows: P, rows in a sample before those.
        n_obs_steps: T, observations in a sample, the current one included.
        image_size: height and width that the policy resizes images to, which samples hold as recorded; None: the same.
        stride: take every n-th point of the grid.
        validation_fraction: share of the episodes that validate.
        seed: of split, order and what statistics look at.
        shuffle_buffer: samples that the shuffle draws from, over all shards of an epoch.
        interleave: episodes that are read at a time, over all shards of an epoch.
        action_topic: JointState topic of a leader arm, whose positions are the actions. None: the outputs' commands.
        max_action_gap_s: rows of actions end where the leader arm was silent for longer; commands are held [s].
        environment_dim: length of ``observation.environment_state``; 0: samples have none.
        failures: whether episodes that failed are samples too.
        namespace: the node's, for relative topics.

    Raises:
        ConfigurationError: a value is out of range.
    """

    chunk_size: int
    past_rows: int = 0
    n_obs_steps: int = 1
    image_size: tuple[int, int] | None = None
    stride: int = 1
    validation_fraction: float = 0.1
    seed: int = 0
    shuffle_buffer: int = 1024
    interleave: int = 8
    action_topic: str | None = None
    max_action_gap_s: float = 0.5
    environment_dim: int = 0
    failures: bool = False
    namespace: str = "/"

    def __post_init__(self) -> None:
        check_range("chunk_size", self.chunk_size, 1, MAX_HORIZON)
        check_range("past_rows", self.past_rows, 0, MAX_HORIZON)
        check_range("n_obs_steps", self.n_obs_steps, 1, MAX_OBS_STEPS)
        for side in self.image_size or ():
            check_range("image_size", side, 1, MAX_IMAGE_SIDE)
        check_range("validation_fraction", self.validation_fraction, 0.0, 0.9)
        for name in ("stride", "shuffle_buffer", "interleave"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.max_action_gap_s > 0.0:
            raise ConfigurationError(f"max_action_gap_s: expected a time above 0, got {self.max_action_gap_s}")


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of an episode without a jump of the clock, and which points of its grid are samples.

    Attributes:
        episode: what it is a part of; all of it, unless a clock jumped.
        start_ns: log time of its first message [ns].
        stop_ns: behind that of its last message [ns].
        points: indices of the grid's points that are samples, increasing.
        left_out: topic and log time of pictures that cannot be decoded.
        first: whether the episode begins with it.
    """

    episode: Episode
    start_ns: int
    stop_ns: int
    points: NDArray[np.int64]
    left_out: frozenset[tuple[str, int]] = frozenset()
    first: bool = True

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class DatasetPlan:
    """Bags that go together, after one look at each.

    Attributes:
        parameters: the node's.
        options: how samples are cut.
        features: feature key to type and shape, as a policy that is to be trained declares them; ``action`` too.
        training: what to train on.
        validation: what to validate on; no episode is in both.
        problems: everything that was left out or looks odd, one line each, with bag and topic.
    """

    parameters: NodeParameters
    options: DatasetOptions
    features: Mapping[str, FeatureSpec]
    training: Sequence[Part]
    validation: Sequence[Part]
    problems: Sequence[str] = field(default_factory=tuple)

    @property
    def input_features(self) -> dict[str, FeatureSpec]:
        """What the policy sees."""
        return {key: spec for key, spec in self.features.items() if spec.type is not FeatureType.ACTION}

    @property
    def output_features(self) -> dict[str, FeatureSpec]:
        """What it answers: ``action``."""
        return {key: spec for key, spec in self.features.items() if spec.type is FeatureType.ACTION}


def declared_features(parameters: NodeParameters, options: DatasetOptions) -> dict[str, FeatureSpec]:
    """The features that the configuration names: joints, all cameras, and the environment's state if it is asked for.

    Images get ``options.image_size`` or, without one, a size of 0 that has to be looked up in a bag.
    """
    height, width = options.image_size or (0, 0)
    features = {OBSERVATION_STATE: FeatureSpec(FeatureType.STATE, (len(state_names(parameters)),))}
    for name, camera in parameters.cameras.items():
        features[camera_feature(name, camera)] = FeatureSpec(FeatureType.VISUAL, (IMAGE_CHANNELS, height, width))
    if options.environment_dim:
        features[OBSERVATION_ENVIRONMENT_STATE] = FeatureSpec(FeatureType.ENV, (options.environment_dim,))
    features[ACTION] = FeatureSpec(FeatureType.ACTION, (len(parameters.joints.names),))
    return features
