# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.files import read_parameters

CONFIG = Path(__file__).resolve().parents[3] / "config"


def written(folder: Path, text: str, name: str = "file.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_shipped_file_is_read_as_the_node_reads_it():
    parameters = read_parameters(CONFIG / "sim.yaml")
    assert parameters.joints.names == ("joint1", "joint2", "joint3", "gripper_joint")
    assert parameters.cameras["wrist"].topic == "camera/wrist/image_raw"
    assert parameters.outputs["gripper"].type == "position_array"
    assert parameters.gate.max_velocity == (2.0, 2.5, 3.0, 0.15)


def test_later_files_and_later_sections_override_single_values():
    both = read_parameters(CONFIG / "sim.yaml", CONFIG / "sim_untrained.yaml")
    assert both.policy.allow_untrained
    assert both.cameras["top"].topic == "camera/top/image_raw"
    assert both.cameras["top"].shape == (3, 120, 160)


@pytest.mark.parametrize(
    ("section", "applies"),
    [
        ("/**", True),
        ("policy", True),
        ("/policy", True),
        ("/*", True),
        ("/**/policy", True),
        ("/left/policy", False),
        ("/*/policy", False),
        ("simulated_robot", False),
    ],
)
def test_a_section_counts_where_its_name_means_the_node(section: str, applies: bool, tmp_path: Path):
    file = written(
        tmp_path,
        f"/**: {{ros__parameters: {{autostart: false}}}}\n{section if section != '/**' else 'policy'}:\n"
        "  ros__parameters: {execution: {rate_hz: 30}, use_sim_time: true}\n",
    )
    assert read_parameters(file).execution.rate_hz == (30.0 if applies else 50.0)


def test_a_node_in_a_namespace_has_its_own_sections(tmp_path: Path):
    file = written(tmp_path, "/left/policy: {ros__parameters: {execution: {rate_hz: 30.0}}}\n")
    assert read_parameters(file, node="/left/policy").execution.rate_hz == 30.0
    with pytest.raises(ConfigurationError, match="expected a section /\\*\\* or /policy, found none"):
        read_parameters(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/**: {ros__parameters: {execution: {rate: 30.0}}}", "file.yaml: unknown parameter 'execution.rate'"),
        ("/**: {ros__parameters: {execution: {rate_hz: fast}}}", "file.yaml: execution.rate_hz: expected float"),
        ("/**: {execution: {rate_hz: 30.0}}", "expected ros__parameters below"),
        ("- 1", "expected names of nodes, got list"),
        ("a: [", "expected YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(text: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=message):
        read_parameters(written(tmp_path, text))


def test_a_missing_file_is_refused():
    with pytest.raises(ConfigurationError, match="nowhere.yaml: cannot be read"):
        read_parameters("nowhere.yaml")
