# SPDX-License-Identifier: Apache-2.0
"""What the launch files start for which arguments; each test has a launch context of its own, nothing is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on PyPI); runs in a ROS 2 container")

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import IncludeLaunchDescription, LogInfo
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities import perform_substitutions
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters

from policy_ros.ros.installation import share_directory

SHARE = share_directory()
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (PROFILE, "FASTDDS_DEFAULT_PROFILES_FILE", "VIRTUAL_ENV", "POLICY_ROS_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def expand(actions: list[object], context: LaunchContext) -> list[object]:
    """Everything that these actions stand for, in order; arguments and includes are resolved, no process is started."""
    found: list[object] = []
    for action in actions:
        if isinstance(action, (Node, LogInfo)):
            found.append(action)
        elif isinstance(action, LaunchDescription):
            found += expand(action.entities, context)
        else:
            found += expand(action.visit(context) or [], context)
    return found


def started(file: str, **arguments: str) -> tuple[dict[str, Node], list[object], LaunchContext]:
    """The nodes by executable, all actions, and the context they were made in."""
    context = LaunchContext()
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / file))
    actions = expand([IncludeLaunchDescription(source, launch_arguments=arguments.items())], context)
    return {node.node_executable: node for node in actions if isinstance(node, Node)}, actions, context


def parameters(node: Node, context: LaunchContext) -> dict[str, object]:
    """The node's parameters as it will see them: files and values merged, later ones win."""
    merged: dict[str, object] = {}
    for each in evaluate_parameters(context, node._Node__parameters):
        if isinstance(each, Path):
            merged |= flat(yaml.safe_load(each.read_text())["/**"]["ros__parameters"])
        else:
            merged |= each
    return merged


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def prefix_of(node: Node, context: LaunchContext) -> str:
    return perform_substitutions(context, node.process_description.prefix or [])


def additional_environment(node: Node, context: LaunchContext) -> dict[str, str]:
    pairs = node.process_description.additional_env or []
    return {perform_substitutions(context, name): perform_substitutions(context, value) for name, value in pairs}


@pytest.mark.parametrize("file", ["act.launch.py", "policy.launch.py"])
def test_without_sim_only_the_policy_node_starts(environment: pytest.MonkeyPatch, file: str):
    nodes, _, _ = started(file)
    assert list(nodes) == ["policy_node"]


def test_sim_starts_robot_and_node_with_the_policy_that_comes_along(environment: pytest.MonkeyPatch):
    nodes, actions, context = started("act.launch.py", sim="true")
    assert list(nodes) == ["simulated_robot", "policy_node"]
    (note,) = [perform_substitutions(context, action.msg) for action in actions if isinstance(action, LogInfo)]
    assert "checkpoints/pick_act" in note
    values = parameters(nodes["policy_node"], context)
    assert values["policy.type"] == "act"
    assert Path(values["policy.path"]).joinpath("config.json").is_file()
    assert values["joints.names"] == ["joint1", "joint2", "joint3", "gripper_joint"]
    assert "env_id" in parameters(nodes["simulated_robot"], context)


def test_a_robot_of_ones_own_gets_no_policy_that_was_trained_for_the_simulated_one(environment: pytest.MonkeyPatch):
    for arguments in ({}, {"sim": "true", "params_file": str(SHARE / "config" / "sim_untrained.yaml")}):
        nodes, _, context = started("act.launch.py", **arguments)
        assert "policy.path" not in parameters(nodes["policy_node"], context)


def test_a_given_policy_is_never_replaced(environment: pytest.MonkeyPatch):
    nodes, actions, context = started("act.launch.py", sim="true", policy="/models/pick")
    values = parameters(nodes["policy_node"], context)
    assert values["policy.path"] == "/models/pick"
    assert not [action for action in actions if isinstance(action, LogInfo)]


def test_the_generic_file_leaves_the_type_to_the_checkpoint(environment: pytest.MonkeyPatch):
    nodes, _, context = started("policy.launch.py", policy="/models/pick")
    assert "policy.type" not in parameters(nodes["policy_node"], context)


def test_arguments_reach_the_node(environment: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**:\n  ros__parameters:\n    execution: {rate_hz: 30.0}\n    autostart: true\n")
    nodes, _, context = started(
        "act.launch.py",
        params_file=str(file),
        namespace="left",
        autostart="false",
        use_sim_time="true",
        log_level="debug",
    )
    node = nodes["policy_node"]
    values = parameters(node, context)
    assert (values["execution.rate_hz"], values["autostart"], values["use_sim_time"]) == (30.0, False, True)
    command = [perform_substitutions(context, part) for part in node.cmd]
    assert command[command.index("--log-level") + 1] == "debug"
    assert node._Node__node_namespace == "left"


def test_simulated_time_comes_from_the_simulated_robot(environment: pytest.MonkeyPatch):
    nodes, _, context = started("act.launch.py", sim="true", use_sim_time="true")
    assert parameters(nodes["simulated_robot"], context)["publish_clock"] is True


def test_an_unknown_value_is_refused(environment: pytest.MonkeyPatch):
    with pytest.raises(RuntimeError, match='"sim" provided value "yes" is not valid'):
        started("act.launch.py", sim="yes")


def test_both_nodes_get_room_for_images_unless_the_user_chose_a_profile(environment: pytest.MonkeyPatch):
    nodes, _, context = started("act.launch.py", sim="true")
    for node in nodes.values():
        assert additional_environment(node, context)[PROFILE] == str(SHARE / "config" / "fastdds.xml")

    environment.setenv(PROFILE, "/etc/own.xml")
    nodes, _, context = started("act.launch.py", sim="true")
    for node in nodes.values():
        assert additional_environment(node, context) == {}


def test_the_interpreter_is_the_one_of_the_active_environment(environment: pytest.MonkeyPatch, tmp_path: Path):
    nodes, _, context = started("act.launch.py")
    assert prefix_of(nodes["policy_node"], context) == ""

    python = tmp_path / "my env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    environment.setenv("VIRTUAL_ENV", str(tmp_path / "my env"))
    nodes, _, context = started("act.launch.py")
    assert prefix_of(nodes["policy_node"], context) == f"'{python}'"

    environment.setenv("POLICY_ROS_PYTHON", "/opt/python3.12")
    nodes, _, context = started("act.launch.py")
    assert prefix_of(nodes["policy_node"], context) == "/opt/python3.12"


REPLAY = {"bag": "/bags/one", "params_file": str(SHARE / "config" / "sim.yaml"), "policy": "/models/pick"}


def command_of(node: Node, context: LaunchContext) -> list[str]:
    return [perform_substitutions(context, part) for part in node.cmd]


def test_a_replay_starts_a_silent_node_on_the_clock_of_the_recording(environment: pytest.MonkeyPatch):
    nodes, _, context = started("replay.launch.py", **REPLAY)
    assert sorted(nodes) == ["bag_player", "policy_node", "replay_scorer"]
    values = parameters(nodes["policy_node"], context)
    assert (values["use_sim_time"], values["enable_commands"]) == (True, False)
    assert values["policy.path"] == "/models/pick"
    for node in nodes.values():
        assert additional_environment(node, context)[PROFILE] == str(SHARE / "config" / "fastdds.xml")


def test_the_own_player_activates_the_node_itself_and_another_one_finds_it_active(environment: pytest.MonkeyPatch):
    own, _, context = started("replay.launch.py", **REPLAY, rate="0.5")
    assert parameters(own["policy_node"], context)["autostart"] is False
    assert command_of(own["bag_player"], context)[1:6] == [
        "/bags/one",
        "--params-file",
        REPLAY["params_file"],
        "--rate",
        "0.5",
    ]
    other, _, context = started("replay.launch.py", **REPLAY, player="none")
    assert "bag_player" not in other
    assert parameters(other["policy_node"], context)["autostart"] is True


def test_the_scorer_is_told_what_is_played_and_where_to_write(environment: pytest.MonkeyPatch):
    nodes, _, context = started("replay.launch.py", **REPLAY, out="/results", overwrite="true")
    words = command_of(nodes["replay_scorer"], context)
    assert words[1] == "/bags/one"
    assert words[words.index("--out") + 1] == "/results"
    assert words[words.index("--policy") + 1] == "/models/pick"
    assert "--overwrite" in words
