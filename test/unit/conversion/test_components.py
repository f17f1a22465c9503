# SPDX-License-Identifier: Apache-2.0
"""Pickled weights of components to safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.component_policies import write_component_flow
from support.originals import Evil

from policy_ros.cli.main import main
from policy_ros.conversion.components import convert_components
from policy_ros.errors import CheckpointError
from policy_ros.policies import build_policy


@pytest.fixture
def original(tmp_path) -> Path:
    """A policy of components whose weights are ``{component}.pt``."""
    directory = write_component_flow(tmp_path / "original").parent
    for name in ("eyes", "head"):
        torch.save(load_file(directory / f"{name}.safetensors"), directory / f"{name}.pt")
        (directory / f"{name}.safetensors").unlink()
    return directory


def test_what_was_converted_builds(original, tmp_path):
    expected = build_policy(write_component_flow(tmp_path / "expected"))
    converted = convert_components(original, tmp_path / "out")
    assert converted.policy == "eyes, head" and converted.notes == ()
    built = build_policy(tmp_path / "out")
    seen = {"proprio": np.zeros((2, 3), np.float32), "head": np.zeros((1, 3, 48, 64), np.uint8)}
    noise = np.zeros((1, 8, 3), np.float32)
    np.testing.assert_array_equal(built.predict(seen, noise=noise), expected.predict(seen, noise=noise))


def test_a_single_file_is_converted(original, tmp_path, capsys):
    assert main(["convert", "components", str(original / "head.pt"), "--out", str(tmp_path / "out")]) == 0
    assert "a policy.yaml is still to be written" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["head.safetensors"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (torch.nn.Linear(2, 2), "needs the code of torch.nn.modules.linear.Linear"),
        ({"model": {"weight": torch.zeros(1)}}, "'model' is a mapping with weight"),
        ([torch.zeros(1)], "got list"),
        ({"weight": torch.tensor([1.0, torch.nan])}, "'weight': expected finite numbers"),
    ],
)
def test_what_is_no_state_dict_is_refused_and_nothing_written(original, tmp_path, content, match):
    torch.save(content, original / "head.pt")
    with pytest.raises(CheckpointError, match=f"head.pt: .*{match}"):
        convert_components(original, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_want_to_run_something_do_not(original, tmp_path):
    torch.save({"weight": Evil(tmp_path / "made")}, original / "head.pt")
    with pytest.raises(CheckpointError, match="code is never run here"):
        convert_components(original, tmp_path / "out")
    assert not (tmp_path / "made").exists()


def test_a_directory_without_pickles_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match="expected files like encoder.pt, found none"):
        convert_components(tmp_path, tmp_path / "out")


def test_weights_that_are_there_twice_are_refused(original, tmp_path):
    (original / "head.safetensors").write_bytes((original / "statistics.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="one file for each component"):
        convert_components(original, tmp_path / "out")


def test_two_files_for_one_component_are_refused(original, tmp_path):
    (original / "head.pth").write_bytes((original / "head.pt").read_bytes())
    with pytest.raises(CheckpointError, match="one file for each component"):
        convert_components(original, tmp_path / "out")
