# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.schema import find, group, group_names, leaves, named_groups, parameter, read


@dataclass(frozen=True)
class Tool:
    topic: str = parameter("", "Topic")
    limits: tuple[float, ...] = parameter((), "Limits", minimum=0.0)


@dataclass(frozen=True)
class Arm:
    speed: float = parameter(1.0, "Speed", unit="rad/s", minimum=0.1, maximum=2.0)
    mode: str = parameter("fast", "Mode", choices=("fast", "slow"), dynamic=True)
    steps: int = parameter(3, "Steps", minimum=1)


@dataclass(frozen=True)
class Robot:
    enabled: bool = parameter(True, "Enabled")
    arm: Arm = group(Arm)
    tools: Mapping[str, Tool] = named_groups(Tool)


def test_names_are_dotted_paths_in_order_of_declaration():
    assert [leaf.name for leaf in leaves(Robot)] == [
        "enabled",
        "arm.speed",
        "arm.mode",
        "arm.steps",
        "tools.<name>.topic",
        "tools.<name>.limits",
    ]


def test_what_is_absent_keeps_its_default():
    assert read(Robot, {}) == Robot()


def test_values_reach_their_place():
    robot = read(Robot, {"enabled": False, "arm.speed": 1.5, "tools.hand.topic": "/hand", "tools.saw.limits": [1.0, 2]})
    assert not robot.enabled
    assert robot.arm.speed == 1.5
    assert robot.tools == {"hand": Tool(topic="/hand"), "saw": Tool(limits=(1.0, 2.0))}


def test_an_integer_becomes_a_float():
    speed = read(Robot, {"arm.speed": 2}).arm.speed
    assert speed == 2.0 and type(speed) is float


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("arm.speed", "quick", "arm.speed: expected float, got str 'quick'"),
        ("arm.speed", True, "arm.speed: expected float, got bool True"),
        ("arm.speed", float("nan"), "arm.speed: expected a finite number, got nan"),
        ("arm.speed", float("inf"), "arm.speed: expected a finite number, got inf"),
        ("arm.speed", 0.0, "arm.speed: expected at least 0.1 rad/s, got 0"),
        ("arm.speed", 3.0, "arm.speed: expected at most 2 rad/s, got 3"),
        ("arm.steps", 1.5, "arm.steps: expected int, got float 1.5"),
        ("arm.steps", True, "arm.steps: expected int, got bool True"),
        ("arm.mode", "fats", "arm.mode: 'fats' is not a choice; did you mean 'fast'? Available: fast, slow"),
        ("enabled", 1, "enabled: expected bool, got int 1"),
        ("tools.saw.limits", "1.0", "tools.saw.limits: expected list of float, got str '1.0'"),
        ("tools.saw.limits", [1.0, -1.0], "tools.saw.limits: expected at least 0, got -1"),
        ("arm.sped", 1.0, "unknown parameter 'arm.sped'; did you mean 'arm.speed'?"),
        ("tools.saw.blade", 1.0, "unknown parameter 'tools.saw.blade'"),
    ],
)
def test_a_bad_value_is_refused_with_name_expectation_and_value(name, value, message):
    with pytest.raises(ConfigurationError) as error:
        read(Robot, {name: value})
    assert message in str(error.value)


def test_group_names_are_found_in_full_names():
    assert group_names(["tools.saw.topic", "tools.hand.topic", "tools.hand.limits", "arm.speed"], "tools") == [
        "hand",
        "saw",
    ]


def test_a_placeholder_stands_for_exactly_one_name():
    assert find(Robot, "tools.saw.topic").name == "tools.saw.topic"
    assert find(Robot, "tools.topic") is None
    assert find(Robot, "tools.big.saw.topic") is None
