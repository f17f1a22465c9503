# SPDX-License-Identifier: Apache-2.0
"""Bags that go together, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from policy_ros.bags import Episode
from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.parameters.build import camera_feature
from policy_ros.parameters.node import NodeParameters
from policy_ros.policies.features import IMAGE_CHANNELS
from policy_ros.training.dataset import DatasetError, DatasetOptions, DatasetPlan, Part, declared_features
from policy_ros.training.inspection import BagReport, PictureKind, Progress, inspect_bag
from policy_ros.training.reading import stream_topics
from policy_ros.training.split import validation_episodes


def plan_dataset(
    bags: Sequence[Path], parameters: NodeParameters, options: DatasetOptions, *, progress: Progress | None = None
) -> DatasetPlan:
    """Look through the bags once, refuse those that disagree, and split their episodes.

    Args:
        bags: rosbag2 directories or single files, each once.
        parameters: of the node that is to run what is trained.
        options: how samples are cut.
        progress: told the share of the bags that was looked through.

    Raises:
        BagError: a bag cannot be read, or lacks a topic.
        DatasetError: a bag has no sample, or does not go with the others. The message names bag and topic.
        ConfigurationError: the parameters cannot work.
    """
    if not parameters.joints.names:
        raise ConfigurationError("joints.names: expected the joints in the order of the action, got none")
    _check_bags(bags)
    reports: dict[Path, BagReport] = {}
    for number, path in enumerate(bags):
        report = inspect_bag(path, parameters, options, _share(progress, number, len(bags)))
        _check_kinds(path, report, reports, stream_topics(parameters, options))
        reports[path] = report
    if progress is not None:
        progress(1.0)
    parts = [part for report in reports.values() for part in report.parts]
    training, validation = _split(parts, options)
    kinds = next(iter(reports.values())).kinds
    problems = tuple(line for report in reports.values() for line in report.problems)
    return DatasetPlan(parameters, options, _features(parameters, options, kinds), training, validation, problems)


def _check_bags(bags: Sequence[Path]) -> None:
    if not bags:
        raise DatasetError("expected at least one bag, got none")
    resolved = [path.resolve() for path in bags]
    twice = sorted({str(path) for path in resolved if resolved.count(path) > 1})
    if twice:
        raise DatasetError(f"expected every bag once, got twice: {', '.join(twice)}")


def _share(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Progress within one of several bags."""
    return None if progress is None else lambda share: progress((number + share) / count)


def _check_kinds(path: Path, report: BagReport, others: Mapping[Path, BagReport], topics: Mapping[str, str]) -> None:
    """Refuse pictures of another kind than the first bag's."""
    if not others:
        return
    first, reference = next(iter(others.items()))
    for camera, kind in report.kinds.items():
        expected = reference.kinds[camera]
        if kind != expected:
            raise DatasetError(
                f"{path}: topic '{topics[f'camera/{camera}']}': expected pictures of {expected} as in {first}, "
                f"got {kind}; train on bags of one kind"
            )


def _split(parts: Sequence[Part], options: DatasetOptions) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    episodes: list[Episode] = list(dict.fromkeys(part.episode for part in parts))
    drawn = validation_episodes(episodes, options.validation_fraction, options.seed)
    held_out = {episodes[position] for position in drawn}
    training = tuple(part for part in parts if part.episode not in held_out)
    return training, tuple(part for part in parts if part.episode in held_out)


def _features(
    parameters: NodeParameters, options: DatasetOptions, kinds: Mapping[str, PictureKind]
) -> dict[str, FeatureSpec]:
    features = declared_features(parameters, options)
    if options.image_size is None:
        for name, kind in kinds.items():
            shape = (IMAGE_CHANNELS, kind.height, kind.width)
            features[camera_feature(name, parameters.cameras[name])] = FeatureSpec(FeatureType.VISUAL, shape)
    return features
