# SPDX-License-Identifier: Apache-2.0
"""Everything before the first step: a new training's record, and from such a record policy and optimisation."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from policy_ros.data import OBSERVATION_STATE, FeatureType
from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies import make_policy
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.normalization import Statistics
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.policies.relative import RelativeActions
from policy_ros.training.checkpoints import TrainingDirectory, restore_weights
from policy_ros.training.optimization import Optimization
from policy_ros.training.options import TrainingOptions, check_same, make_options
from policy_ros.training.policy_options import policy_options
from policy_ros.training.seeding import Stage, seed_generators
from policy_ros.training.source import TrainingData

OpenData = Callable[[TrainingOptions], TrainingData]
Say = Callable[[str], None]

_PACKAGES = ("policy_ros", "torch", "lightning", "torchmetrics", "numpy")


@dataclass(frozen=True)
class Prepared:
    """What the steps need, the same in every process.

    Attributes:
        options: of the training.
        data: its samples.
        policy: on the CPU, with the weights to go on from.
        optimization: of these weights.
        state: the saved one to go on from, None at the beginning.
    """

    options: TrainingOptions
    data: TrainingData
    policy: Policy
    optimization: Optimization
    state: dict[str, Any] | None

    @property
    def first_step(self) -> int:
        """Steps that were taken before."""
        return 0 if self.state is None else int(self.state["step"])


def begin(directory: TrainingDirectory, options: TrainingOptions, data: TrainingData, *, overwrite: bool) -> None:
    """Write the record of a new training; nothing is written or removed before all of it is known to fit.

    Raises:
        ConfigurationError: options, policy and data do not fit together, or the directory is not empty.
    """
    directory.check_free(overwrite=overwrite)
    overrides = policy_options(options, data.features)
    config = POLICY_REGISTRY.get(options.policy).config_class.from_dict(overrides)
    optimization = Optimization.of(config, options)
    relative = _relative(options, config, data)
    statistics = data.statistics(config, relative)
    _fresh_policy(options, overrides, statistics, relative)
    record = {
        "options": options.to_dict(),
        "policy": {"type": options.policy, "config": overrides},
        "optimization": asdict(optimization),
        "ema": options.average_decay(denoises=config.denoises),
        "dataset": data.summary,
        "versions": _versions(),
    }
    directory.begin(overwrite=overwrite)
    directory.write_record(record, statistics)


def prepare(
    directory: TrainingDirectory, data: TrainingData | None, open_data: OpenData, given: Mapping[str, Any], say: Say
) -> Prepared:
    """What a record says, and the newest state where one was saved.

    Args:
        directory: with a record.
        data: opened already, or None.
        open_data: the data that options name.
        given: options that were named when resuming.
        say: is told in words what differs without being an error.

    Raises:
        ConfigurationError: there is no training to resume, or other options are asked for.
        TrainingError: data have changed, or the state cannot be read.
    """
    record = directory.read_record()
    options = make_options(record["options"])
    check_same(options, given)
    data = data or open_data(options)
    _check_same_data(record["dataset"], data.summary)
    _compare_versions(record["versions"], say)
    config = POLICY_REGISTRY.get(options.policy).config_class.from_dict(record["policy"]["config"])
    policy = _fresh_policy(
        options, record["policy"]["config"], directory.read_statistics(), _relative(options, config, data)
    )
    state = directory.load_state()
    if state is not None:
        restore_weights(policy, state)
    return Prepared(options, data, policy, Optimization.of(config, options), state)


def _relative(options: TrainingOptions, config: PolicyConfig, data: TrainingData) -> RelativeActions | None:
    if not options.relative:
        return None
    joints = data.parameters.joints
    state = config.state_feature
    if state is None or state.shape[0] < config.action_dim:
        raise ConfigurationError(
            f"relative: expected {OBSERVATION_STATE} with the {config.action_dim} joints of the action"
        )
    if joints.state_names and joints.state_names[: len(joints.names)] != joints.names:
        raise ConfigurationError(
            f"relative: expected joints.state_names to begin with joints.names {', '.join(joints.names)}, "
            f"got {', '.join(joints.state_names)}"
        )
    unknown = [name for name in options.relative_exclude if name not in joints.names]
    if unknown:
        raise ConfigurationError(
            f"relative_exclude: '{unknown[0]}' is no joint; expected some of {', '.join(joints.names)}"
        )
    return RelativeActions.excluding(options.relative_exclude, joints.names, config.action_dim)


def _fresh_policy(
    options: TrainingOptions, overrides: Mapping[str, Any], statistics: Statistics, relative: RelativeActions | None
) -> Policy:
    seed_generators(options.seed, Stage.WEIGHTS)
    policy = make_policy(options.policy, overrides, statistics=statistics, device="cpu")
    policy.relative = relative
    return policy.train()


def _check_same_data(kept: Any, found: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(found))
    changed = [name for name in sorted({*kept, *now}) if kept.get(name) != now.get(name)]
    if changed:
        raise TrainingError(
            f"--resume: the data have changed since the training began ({', '.join(changed)}): "
            "expected the same bags and parameters; train anew"
        )


def _compare_versions(kept: Mapping[str, str], say: Say) -> None:
    now = _versions()
    for name in sorted(now):
        if kept.get(name) != now[name]:
            say(f"warning: the training began with {name} {kept.get(name)}, this is {now[name]}; numbers may differ")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str:
    if package == "torch":
        return str(torch.__version__)
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def backbone_advice(config: PolicyConfig) -> str:
    """What to know before training this backbone from random weights, empty if nothing."""
    images = any(spec.type is FeatureType.VISUAL for spec in config.input_features.values())
    if images and getattr(config, "backbone_norm", "") == "frozen_batch_norm":
        return (
            "note: backbone_norm frozen_batch_norm is meant for pretrained weights, which fresh policies do not have; "
            "--set backbone_norm=group_norm trains better from scratch"
        )
    if images and getattr(config, "freeze_vision_encoder", False):
        return (
            "note: freeze_vision_encoder keeps the convolutions of a fresh policy at random weights; "
            "--set freeze_vision_encoder=false trains them"
        )
    return ""
