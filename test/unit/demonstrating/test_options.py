# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from demonstrating import options
from demonstrating.options import find_policy, image_size, parse

from policy_ros.errors import ConfigurationError


def checkpoint(folder: Path, shapes: dict[str, list[int]]) -> Path:
    folder.mkdir(parents=True)
    features = {f"observation.images.{name}": {"type": "VISUAL", "shape": shape} for name, shape in shapes.items()}
    features["observation.state"] = {"type": "STATE", "shape": [4]}
    (folder / "config.json").write_text(json.dumps({"type": "act", "input_features": features}))
    return folder


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(options, "share_directory", lambda: tmp_path)
    return tmp_path


def test_shipped_act_runs_by_default_and_the_shipped_flow_policy_under_rtc(share: Path):
    sizes = {"top": [3, 96, 128], "wrist": [3, 96, 128]}
    act, flow = (checkpoint(share / "checkpoints" / name, sizes) for name in ("pick_act", "pick_flow"))
    assert parse([]).policy == parse(["--mode", "blend"]).policy == act
    assert parse(["--mode", "rtc", "--delay-ms", "200"]).policy == flow
    assert parse(["--mode", "rtc", "--policy", str(act)]).policy == act
    assert parse([]).image_size == (96, 128), "the robot's cameras deliver what the policy has learnt from"


def test_node_is_told_the_policy_the_mode_and_the_delay_and_single_values_come_last(share: Path):
    policy = checkpoint(share / "mine", {"top": [3, 48, 64]})
    values = parse(["--policy", str(policy), "--mode", "sync", "--delay-ms", "150", "-p", "a:=1"]).node_values()
    assert values == [f"policy.path:={policy}", "execution.added_delay_s:=0.15", "execution.mode:=sync", "a:=1"]


def test_delay_is_the_robot_s_where_its_time_runs_slower(share: Path):
    policy = checkpoint(share / "mine", {"top": [3, 48, 64]})
    values = parse(["--policy", str(policy), "--delay-ms", "100", "--time-factor", "0.25"]).node_values()
    assert {"execution.added_delay_s:=0.4", "use_sim_time:=true"} <= set(values)


@pytest.mark.parametrize(("mode", "name"), [("", "pick_act"), ("rtc", "pick_flow")])
def test_checkpoint_that_was_not_installed_is_named_with_what_to_do(share: Path, mode: str, name: str):
    with pytest.raises(ConfigurationError, match=rf"shipped checkpoints/{name}.*make setup.*POLICY=DIR"):
        find_policy(None, mode)


@pytest.mark.parametrize("shapes", [{}, {"top": [3, 48, 64], "wrist": [3, 96, 128]}])
def test_policy_without_pictures_of_one_size_is_refused(tmp_path: Path, shapes: dict[str, list[int]]):
    with pytest.raises(ConfigurationError, match="expected pictures of one size"):
        image_size(checkpoint(tmp_path / "policy", shapes))


@pytest.mark.parametrize(
    "arguments", [["--episodes", "0"], ["--delay-ms", "-1"], ["--mode", "fast"], ["--time-factor", "0.1"]]
)
def test_impossible_demonstration_is_a_usage_error(share: Path, arguments: list[str]):
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
