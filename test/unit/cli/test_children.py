# SPDX-License-Identifier: Apache-2.0
"""Arguments of child processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.ros.children import parameter_arguments


def test_single_values_come_last_as_a_nested_file(tmp_path: Path):
    file = tmp_path / "robot.yaml"
    file.write_text("")
    values = ["policy.path:=/a/b", "policy.seed:=3", "autostart:=true", "policy.prompt:=", "gate.margin:=0.5"]
    flag, first, other_flag, last = parameter_arguments([file], values, tmp_path)
    assert (flag, first, other_flag) == ("--params-file", str(file), "--params-file")
    assert yaml.safe_load(Path(last).read_text())["/**"]["ros__parameters"] == {
        "policy": {"path": "/a/b", "seed": 3, "prompt": ""},
        "autostart": True,
        "gate": {"margin": 0.5},
    }


def test_without_single_values_nothing_is_written(tmp_path: Path):
    assert parameter_arguments([], [], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("policy.path", "expected NAME:=VALUE"),
        ("policy.path:=[1", "expected a value as in YAML"),
        ("policy.path.name:=x", "'policy.path.name' lies below 'path', which has a value itself"),
    ],
)
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, value: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        parameter_arguments([], ["policy.path:=/a", value], tmp_path)
