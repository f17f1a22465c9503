# SPDX-License-Identifier: Apache-2.0
"""The example of a policy of one's own, installed as a wheel into a fresh environment, runs in the node by its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.checkpoints import CAMERA, IMAGE_SHAPE, JOINTS
from support.holding import PATIENT
from support.plugins import build_wheel, fresh_environment, install, run
from support.waiting import wait_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_policy"
NAMES = "from policy_ros.policies import available_policies; print(*available_policies())"
WRITE = f"""
import torch
from policy_ros.policies import make_policy
torch.manual_seed(0)
options = {{
    "input_features": {{
        "observation.state": {{"type": "STATE", "shape": [{len(JOINTS)}]}},
        "observation.images.{CAMERA}": {{"type": "VISUAL", "shape": {list(IMAGE_SHAPE)}}},
    }},
    "output_features": {{"action": {{"type": "ACTION", "shape": [{len(JOINTS)}]}}}},
}}
statistics = {{
    key: {{"mean": torch.zeros(shape), "std": scale * torch.ones(shape)}}
    for key, shape, scale in (
        ("observation.state", {len(JOINTS)}, 1.0),
        ("observation.images.{CAMERA}", (3, 1, 1), 1.0),
        ("action", {len(JOINTS)}, 0.02),
    )
}}
make_policy("my_policy", options, statistics=statistics, device="cpu").save_pretrained("mine")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the example's wheel."""
    folder = tmp_path_factory.mktemp("own_policy")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    python = fresh_environment(folder / "venv")
    assert "my_policy" not in run(python, "-c", NAMES, folder=folder).split()
    install(build_wheel(source, folder / "wheels"), python)
    return python


def test_the_example_is_registered_by_being_installed(python: Path, tmp_path: Path):
    assert "my_policy" in run(python, "-c", NAMES, folder=tmp_path).split()


def test_the_examples_own_tests_pass(python: Path, tmp_path: Path):
    shutil.copytree(EXAMPLE / "test", tmp_path / "test")
    assert "2 passed" in run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test", folder=tmp_path)


def test_the_example_runs_in_the_node(python: Path, robot, start_node, tmp_path: Path):
    run(python, "-c", WRITE, folder=tmp_path)
    node = start_node(process={"python": python}, policy__path=str(tmp_path / "mine"), **PATIENT)
    node.bring_up()
    wait_for(lambda: len(robot.commands) > 50, 10.0, lambda: f"commands\n{node.log}")
    assert tuple(robot.commands[-1].message.joint_names) == JOINTS
    wait_for(lambda: robot.statuses and robot.status.policy == "my_policy", 5.0, "a status that names the policy")
    assert robot.status.holds == 0
