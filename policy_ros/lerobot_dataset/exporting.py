# SPDX-License-Identifier: Apache-2.0
"""Bags as a LeRobot dataset, through the samples that training reads.

Frame k of an episode is the observation at the grid's point k and the first row of actions behind it, so that the rows
of a chunk are the actions of consecutive frames, as LeRobot takes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import ACTION, TASK, FeatureSpec, FeatureType
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import Feature, picture, vector
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.lerobot_dataset.video import find_codec
from policy_ros.lerobot_dataset.writer import DatasetWriter, refuse_existing
from policy_ros.parameters.build import state_names
from policy_ros.parameters.node import NodeParameters
from policy_ros.training.dataset import DatasetOptions, DatasetPlan, Part
from policy_ros.training.planning import plan_dataset
from policy_ros.training.stream import SampleStream

_PLANNING = 0.2  # share of the work


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How bags become a dataset.

    Attributes:
        fps: frames per second; 0: ``execution.rate_hz``.
        video_codec: of the videos; None: images are PNG files in the parquet files.
        task: what is done in all episodes, in words; None: what the bags say.
        robot_type: free text.
        failures: whether episodes that failed are exported too.
        action_topic: JointState topic of a leader arm, whose positions are the actions.
        environment_dim: length of ``observation.environment_state``; 0: there is none.
        namespace: the node's, for relative topics.
    """

    fps: int = 0
    video_codec: str | None = "h264"
    task: str | None = None
    robot_type: str | None = None
    failures: bool = False
    action_topic: str | None = None
    environment_dim: int = 0
    namespace: str = "/"


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what was left out or looks odd."""

    info: DatasetInfo
    problems: Sequence[str]


def export_dataset(
    bags: Sequence[Path],
    parameters: NodeParameters,
    out: Path,
    options: ExportOptions,
    *,
    progress: Callable[[float], None] | None = None,
) -> ExportResult:
    """Write the episodes of the bags to ``out``, which must not exist.

    Where moments of an episode cannot be samples (a stream was silent, a picture is damaged), the episode ends there
    and another begins behind, so that frames that follow each other are one period apart.

    Args:
        progress: told the share that is done, 0 to 1.

    Raises:
        LeRobotError: ``out`` exists, there is no sample, or the rate is no whole number.
        DatasetError, BagError: a bag cannot be used.
    """
    tell = progress or (lambda share: None)
    refuse_existing(out)
    parameters = _at_rate(parameters, options.fps)
    codec = None if options.video_codec is None else find_codec(options.video_codec)
    plan = plan_dataset(bags, parameters, _cut(options), progress=lambda share: tell(_PLANNING * share))
    with DatasetWriter(
        out,
        fps=round(parameters.execution.rate_hz),
        features=_features(plan.features, parameters, video=codec is not None),
        codec=codec,
        robot_type=options.robot_type,
    ) as writer:
        splits = _write(plan, writer, options.task, lambda share: tell(_PLANNING + (1.0 - _PLANNING) * share))
        return ExportResult(writer.close(), [*plan.problems, *splits])


def _write(plan: DatasetPlan, writer: DatasetWriter, task: str | None, tell: Callable[[float], None]) -> list[str]:
    """Write all samples; a line for each place where an episode was split."""
    samples = iter(SampleStream(plan.training, plan.parameters, plan.options, shuffle=False, shard=(0, 1)))
    splits: list[str] = []
    total, done = sum(len(part) for part in plan.training), 0
    for part in plan.training:
        previous: int | None = None
        for point in part.points.tolist():
            if previous is not None and point != previous + 1:
                writer.end_episode()
                splits.append(_split(part, point - previous - 1, plan.parameters.execution.rate_hz))
            sample = next(samples)
            writer.add(_frame(sample, plan.features), str(sample.get(TASK, "")) if task is None else task)
            previous = point
            done += 1
            tell(done / total)
        writer.end_episode()
    return splits


def _cut(options: ExportOptions) -> DatasetOptions:
    return DatasetOptions(
        chunk_size=1,
        validation_fraction=0.0,
        action_topic=options.action_topic,
        environment_dim=options.environment_dim,
        failures=options.failures,
        namespace=options.namespace,
    )


def _at_rate(parameters: NodeParameters, fps: int) -> NodeParameters:
    """The parameters with the dataset's rate as that of control."""
    rate_hz = float(fps or parameters.execution.rate_hz)
    if rate_hz != round(rate_hz):
        raise LeRobotError(
            f"execution.rate_hz: expected a whole number of frames per second, which is all this layout has, "
            f"got {rate_hz:g}; name one with --fps"
        )
    return dataclasses.replace(parameters, execution=dataclasses.replace(parameters.execution, rate_hz=rate_hz))


def _features(specs: Mapping[str, FeatureSpec], parameters: NodeParameters, *, video: bool) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for key, spec in specs.items():
        if spec.type is FeatureType.VISUAL:
            features[key] = picture(*spec.shape[1:], video=video)
        elif spec.type is FeatureType.STATE:
            features[key] = vector(state_names(parameters))
        elif spec.type is FeatureType.ACTION:
            features[key] = vector(parameters.joints.names)
        else:
            features[key] = Feature("float32", spec.shape)
    return features


def _frame(sample: Mapping[str, Any], features: Mapping[str, FeatureSpec]) -> dict[str, NDArray[Any]]:
    """A sample as a frame: its observation, and of its actions the first row."""
    return {key: np.asarray(sample[key][0] if key == ACTION else sample[key]) for key in features}


def _split(part: Part, missing: int, rate_hz: float) -> str:
    episode = part.episode
    return (
        f"{episode.bag_path}: episode {episode.index}: {missing} frames ({missing / rate_hz:.3g} s) are missing in it, "
        "what comes behind them is an episode of its own"
    )
