# SPDX-License-Identifier: Apache-2.0
"""Joint limits from a robot description (URDF)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policy_ros.errors import ConfigurationError, closest

MAX_BYTES = 16 * 2**20
_MOVING = ("revolute", "prismatic", "continuous")
_DECLARATIONS = ("<!DOCTYPE", "<!ENTITY")  # a URDF needs neither; entities can expand to any size


@dataclass(frozen=True)
class JointLimits:
    """Limits of one joint; infinite where the description sets none.

    Attributes:
        lower, upper: positions [rad, m]; the soft limits of a ``safety_controller`` where these are tighter.
        velocity: largest speed [rad/s, m/s].
        acceleration: largest acceleration and deceleration, of URDF 1.2 [rad/s², m/s²].
        jerk: largest jerk, of URDF 1.2 [rad/s³, m/s³].
    """

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    acceleration: float = math.inf
    jerk: float = math.inf


def read_joint_limits(description: str, names: Iterable[str]) -> dict[str, JointLimits]:
    """Limits of the named joints.

    Args:
        description: URDF, already expanded if it was written with xacro.
        names: joints that must be in it.

    Raises:
        ConfigurationError: it is no URDF, too large, declares entities, lacks a joint, or has a limit that is no limit.
    """
    joints = _joints(description)
    limits = {}
    for name in names:
        if name not in joints:
            raise ConfigurationError(f"robot description: no joint '{name}'; {closest(name, joints)}")
        limits[name] = _limits(name, joints[name])
    return limits


def _joints(description: str) -> Mapping[str, ElementTree.Element]:
    if len(description) > MAX_BYTES:
        raise ConfigurationError(
            f"robot description: expected at most {MAX_BYTES} characters, got {len(description)}; leave meshes out"
        )
    if any(word in description for word in _DECLARATIONS):
        raise ConfigurationError("robot description: expected plain XML, got a DOCTYPE or ENTITY declaration")
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        raise ConfigurationError(f"robot description: expected a URDF, got XML that cannot be read: {error}") from None
    if root.tag != "robot":
        raise ConfigurationError(f"robot description: expected the element <robot>, got <{root.tag:.80}>")
    return {joint.get("name", ""): joint for joint in root.findall("joint")}


def _limits(name: str, joint: ElementTree.Element) -> JointLimits:
    kind = joint.get("type", "")
    if kind not in _MOVING:
        raise ConfigurationError(f"robot description: joint '{name}' is {kind!r:.80}, expected {', '.join(_MOVING)}")
    limit, soft = joint.find("limit"), joint.find("safety_controller")
    if limit is None and kind != "continuous":
        raise ConfigurationError(f"robot description: joint '{name}' is {kind} and has no <limit>")
    lower, upper = -math.inf, math.inf
    if limit is not None and kind != "continuous":
        lower, upper = _number(name, limit, "lower", 0.0), _number(name, limit, "upper", 0.0)
        if soft is not None:
            lower = max(lower, _number(name, soft, "soft_lower_limit", lower))
            upper = min(upper, _number(name, soft, "soft_upper_limit", upper))
        if not lower < upper:
            raise ConfigurationError(
                f"robot description: joint '{name}': expected lower < upper, got {lower:g} and {upper:g}"
            )
    if limit is None:
        return JointLimits()
    deceleration = _rate(name, limit, "deceleration")
    return JointLimits(
        lower,
        upper,
        _rate(name, limit, "velocity"),
        min(_rate(name, limit, "acceleration"), deceleration),
        _rate(name, limit, "jerk"),
    )


def _rate(name: str, element: ElementTree.Element, attribute: str) -> float:
    value = _number(name, element, attribute, math.inf)
    if not value > 0.0:
        raise ConfigurationError(
            f"robot description: joint '{name}': expected {attribute} above 0, got {value:g}; "
            "correct it, or set gate.use_robot_description to false"
        )
    return value


def _number(name: str, element: ElementTree.Element, attribute: str, default: float) -> float:
    text = element.get(attribute)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ConfigurationError(
            f"robot description: joint '{name}': expected a number for {attribute}, got '{text:.80}'"
        )
    return value
