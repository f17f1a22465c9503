# SPDX-License-Identifier: Apache-2.0
"""Bags as the data of a training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError, TrainingError, closest
from policy_ros.parameters.files import read_parameters
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.features import features_to_json
from policy_ros.policies.limits import MAX_IMAGE_SIDE, MAX_OBSERVATION_VALUES
from policy_ros.policies.normalization import Statistics
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.policies.relative import RelativeActions
from policy_ros.training.bars import progress_bar
from policy_ros.training.dataset import DatasetOptions, DatasetPlan, Part, declared_features
from policy_ros.training.loading import Sample, Shard
from policy_ros.training.optimization import Optimization
from policy_ros.training.options import TrainingOptions
from policy_ros.training.planning import plan_dataset
from policy_ros.training.policy_options import policy_options
from policy_ros.training.statistics import compute_statistics
from policy_ros.training.stream import SampleStream

_MOST_VALUES = MAX_OBSERVATION_VALUES // 2  # of images; leaves more than enough for vectors


def open_bag_data(options: TrainingOptions, say: Callable[[str], None]) -> BagData:
    """Look through the bags that options name.

    Raises:
        PolicyRosError: a file or a bag cannot be used, or bags do not go together; the message names it.
    """
    parameters = _with_chosen_cameras(read_parameters(*options.params_file), options.cameras)
    dataset = _dataset_options(options, parameters)
    say(f"looking through {options.bags[0]}{_more(options.bags)}")
    with progress_bar("bags") as progress:
        plan = plan_dataset([Path(bag) for bag in options.bags], parameters, dataset, progress=progress)
    if not any(map(len, plan.training)):
        raise TrainingError(f"{options.bags[0]}{_more(options.bags)}: expected samples to train on, found none")
    return BagData(plan, say)


class BagData:
    """A planned data set; see :class:`policy_ros.training.source.TrainingData`."""

    def __init__(self, plan: DatasetPlan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say

    @property
    def parameters(self) -> NodeParameters:
        """Of the node."""
        return self._plan.parameters

    @property
    def features(self) -> Mapping[str, FeatureSpec]:
        """Inputs and ``action``."""
        return self._plan.features

    @property
    def has_validation(self) -> bool:
        """Whether an episode was kept apart."""
        return any(map(len, self._plan.validation))

    @property
    def problems(self) -> tuple[str, ...]:
        """What was left out or looks odd."""
        return tuple(self._plan.problems)

    @property
    def summary(self) -> dict[str, Any]:
        """Bags, episodes, numbers of samples, features, and the parameters that cut samples out of bags."""
        plan, parameters = self._plan, dataclasses.asdict(self._plan.parameters)
        cutting = ("joints", "cameras", "observation", "outputs")
        return {
            "rate_hz": plan.parameters.execution.rate_hz,
            "features": features_to_json(plan.features),
            "training": _summary(plan.training),
            "validation": _summary(plan.validation),
            "parameters": {name: parameters[name] for name in cutting},
        }

    def statistics(self, config: PolicyConfig, relative: RelativeActions | None) -> Statistics:
        """One pass over the training samples."""
        self._say(f"computing statistics of {sum(map(len, self._plan.training))} samples")
        with progress_bar("statistics") as progress:
            return compute_statistics(self._plan, relative=relative, progress=progress)

    def training(self, config: PolicyConfig, *, epoch: int, skip: int, shard: Shard) -> Iterable[Sample]:
        """Shuffled."""
        plan = self._plan
        return SampleStream(
            plan.training, plan.parameters, plan.options, shuffle=True, epoch=epoch, skip=skip, shard=shard
        )

    def validation(self, config: PolicyConfig, *, samples: int, shard: Shard) -> Iterable[Sample]:
        """Evenly spaced in time, one episode after the other."""
        plan = self._plan
        every = max(1, -(-sum(map(len, plan.validation)) // samples))
        mine = slice(shard.part * every, None, shard.parts * every)
        parts = [dataclasses.replace(part, points=part.points[mine]) for part in plan.validation]
        return SampleStream([part for part in parts if len(part)], plan.parameters, plan.options, shuffle=False)


def _with_chosen_cameras(parameters: NodeParameters, chosen: Sequence[str]) -> NodeParameters:
    """The node's parameters with these cameras alone, in the file's order; with all where none is named."""
    for name in chosen:
        if name not in parameters.cameras:
            raise ConfigurationError(
                f"cameras: '{name}' is no camera of the parameter file; {closest(name, parameters.cameras)}"
            )
    cameras = {name: camera for name, camera in parameters.cameras.items() if not chosen or name in chosen}
    return dataclasses.replace(parameters, cameras=cameras)


def _dataset_options(options: TrainingOptions, parameters: NodeParameters) -> DatasetOptions:
    """How samples are cut; refuses what can be refused before a bag is looked through, which takes minutes."""
    kind = POLICY_REGISTRY.get(options.policy).config_class
    _refuse_unmet(options.policy, kind.unmet_in_recordings)  # first: no option makes these fit
    height_width = (options.image_size[0], options.image_size[1]) if options.image_size else None
    dataset = DatasetOptions(
        chunk_size=1,
        image_size=height_width,
        stride=options.stride,
        validation_fraction=options.val_fraction,
        seed=options.seed,
        shuffle_buffer=options.shuffle_buffer,
        interleave=options.interleave,
        action_topic=options.action_topic or None,
        max_action_gap_s=options.max_action_gap_s,
        environment_dim=options.environment_dim,
        failures=options.failures,
    )
    config = _config(options, declared_features(parameters, dataset))
    _refuse_unmet(options.policy, config.unmet_in_recordings)
    Optimization.of(config, options)
    rows = config.target_rows
    return dataclasses.replace(dataset, chunk_size=rows.stop, past_rows=-rows.start, n_obs_steps=config.n_obs_steps)


def _refuse_unmet(policy: str, unmet: object) -> None:
    """``unmet`` as a class has it is no text where options of the policy decide."""
    if unmet and isinstance(unmet, str):
        raise ConfigurationError(f"policy '{policy}' cannot learn from bags: it needs {unmet}")


def _config(options: TrainingOptions, features: Mapping[str, FeatureSpec]) -> PolicyConfig:
    """The policy's configuration before the size of images is known: as large as may be, so that every crop fits."""
    kind = POLICY_REGISTRY.get(options.policy).config_class
    steps = options.policy_overrides().get("n_obs_steps", kind.n_obs_steps)
    steps = steps if isinstance(steps, int) and steps > 0 else 1  # what else it may be the configuration refuses
    images = [key for key, spec in features.items() if spec.type is FeatureType.VISUAL]
    channels = steps * sum(features[key].shape[0] for key in images)
    any_side = max(1, min(MAX_IMAGE_SIDE, math.isqrt(_MOST_VALUES // max(1, channels))))
    sized = {
        key: FeatureSpec(spec.type, (spec.shape[0], *(side or any_side for side in spec.shape[1:])))
        if key in images
        else spec
        for key, spec in features.items()
    }
    return kind.from_dict(policy_options(options, sized))


def _summary(parts: Sequence[Part]) -> dict[str, Any]:
    episodes = {(str(part.episode.bag_path), part.episode.index) for part in parts}
    return {
        "episodes": len(episodes),
        "samples": sum(map(len, parts)),
        "bags": sorted({path for path, _ in episodes}),
    }


def _more(bags: Sequence[str]) -> str:
    return f" and {len(bags) - 1} more" if len(bags) > 1 else ""
