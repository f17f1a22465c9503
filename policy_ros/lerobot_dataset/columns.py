# SPDX-License-Identifier: Apache-2.0
"""Which columns of a dataset are which joints and cameras of a robot, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from policy_ros.data import ACTION, OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.errors import closest
from policy_ros.lerobot_dataset.errors import LeRobotError
from policy_ros.lerobot_dataset.features import Feature
from policy_ros.lerobot_dataset.info import DatasetInfo
from policy_ros.parameters.build import camera_feature, state_names
from policy_ros.parameters.node import NodeParameters

_POSITION = ".pos"  # LeRobot's own robots name a joint's position "shoulder_pan.pos"


@dataclass(frozen=True)
class Columns:
    """What of a dataset becomes messages.

    Attributes:
        state: for each of ``joints.state_names``, its element of ``observation.state``.
        action: for each of ``joints.names``, its element of ``action``.
        cameras: name of a camera to its column.
        environment: whether ``observation.environment_state`` is there.
        left_out: columns that nothing in the parameters asks for.
    """

    state: tuple[int, ...]
    action: tuple[int, ...]
    cameras: dict[str, str]
    environment: bool
    left_out: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """All columns that are read."""
        environment = (OBSERVATION_ENVIRONMENT_STATE,) if self.environment else ()
        return (OBSERVATION_STATE, ACTION, *self.cameras.values(), *environment)


def match_columns(root: Path, info: DatasetInfo, parameters: NodeParameters, *, by_order: bool) -> Columns:
    """Find the joints and cameras of the parameters in a dataset.

    Args:
        root: the dataset, for messages to people.
        by_order: the columns are ``joints.state_names`` and ``joints.names`` in this order, whatever they are called.

    Raises:
        LeRobotError: a joint, a camera or the rate differs.
    """
    _check_rate(root, info, parameters)
    cameras = _cameras(root, info, parameters)
    environment = OBSERVATION_ENVIRONMENT_STATE in info.features
    used = {OBSERVATION_STATE, ACTION, OBSERVATION_ENVIRONMENT_STATE, *cameras.values()}
    return Columns(
        state=_order(root, info, OBSERVATION_STATE, state_names(parameters), by_order),
        action=_order(root, info, ACTION, parameters.joints.names, by_order),
        cameras=cameras,
        environment=environment,
        left_out=tuple(key for key in info.features if key.startswith("observation.") and key not in used),
    )


def _check_rate(root: Path, info: DatasetInfo, parameters: NodeParameters) -> None:
    if info.fps != parameters.execution.rate_hz:
        raise LeRobotError(
            f"{root}: expected {parameters.execution.rate_hz:g} frames per second, as execution.rate_hz, "
            f"got {info.fps}; a policy of this dataset needs execution.rate_hz: {info.fps}.0"
        )


def _order(root: Path, info: DatasetInfo, key: str, joints: Sequence[str], by_order: bool) -> tuple[int, ...]:
    feature = _vector(root, info, key)
    count = feature.shape[0]
    if by_order:
        if count != len(joints):
            raise LeRobotError(
                f"{root}: '{key}': expected {len(joints)} elements for {', '.join(joints)}, got {count} "
                f"({', '.join(feature.names) or 'without names'})"
            )
        return tuple(range(count))
    names = [name.removesuffix(_POSITION) for name in feature.names]
    if len(names) != count or sorted(names) != sorted(joints):
        raise LeRobotError(
            f"{root}: '{key}': expected the joints {', '.join(joints)} in any order, got {count} elements "
            f"({', '.join(feature.names) or 'without names'}); name them so in the parameters, or take "
            "--joints-by-order if they are the same in the same order"
        )
    return tuple(names.index(joint) for joint in joints)


def _vector(root: Path, info: DatasetInfo, key: str) -> Feature:
    feature = info.features.get(key)
    if feature is None:
        raise LeRobotError(f"{root}: expected '{key}', got {', '.join(info.features)}")
    if not feature.dtype.startswith("float") or len(feature.shape) != 1:
        raise LeRobotError(f"{root}: '{key}': expected a vector of floats, got {feature.dtype} {feature.shape}")
    return feature


def _cameras(root: Path, info: DatasetInfo, parameters: NodeParameters) -> dict[str, str]:
    pictures = {key: feature for key, feature in info.features.items() if feature.is_picture}
    cameras = {name: camera_feature(name, camera) for name, camera in parameters.cameras.items()}
    for name, key in cameras.items():
        if key not in pictures:
            raise LeRobotError(
                f"{root}: cameras.{name}: expected '{key}', it is missing; {closest(key, pictures)}; "
                f"set cameras.{name}.feature"
            )
        feature = pictures[key]
        if feature.is_depth or len(feature.shape) != 3 or feature.shape[2] != 3:
            raise LeRobotError(f"{root}: '{key}': expected colour images (H, W, 3), got depth or {feature.shape}")
    return cameras
