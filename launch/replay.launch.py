# SPDX-License-Identifier: Apache-2.0
"""A bag to the real policy node, commands disabled, and what the node makes of it measured; docs/replay-through-ros.md.

ros2 launch policy_ros replay.launch.py bag:=/path/to/bag policy:=/path/to/checkpoint params_file:=/path/to/robot.yaml
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

_BOOLEAN = ("true", "false")
_ACTIVATION_TIMEOUT_S = 60.0  # until somebody plays the bag
_STATUS_RATE_HZ = 50.0

ARGUMENTS = (
    DeclareLaunchArgument("bag", description="rosbag2 directory or file"),
    DeclareLaunchArgument("params_file", description="parameter file of the policy node, top key '/**'"),
    DeclareLaunchArgument(
        "policy", default_value="", description="checkpoint directory or hub id; empty: as in params_file"
    ),
    DeclareLaunchArgument("out", default_value="replay", description="directory for metrics and report"),
    DeclareLaunchArgument(
        "overwrite", default_value="false", choices=_BOOLEAN, description="replace what an earlier replay wrote there"
    ),
    DeclareLaunchArgument(
        "player",
        default_value="own",
        choices=("own", "none"),
        description="none: somebody else plays the bag, e.g. `ros2 bag play BAG --clock`",
    ),
    DeclareLaunchArgument("rate", default_value="1.0", description="of the own player: seconds of the bag per second"),
    DeclareLaunchArgument("namespace", default_value="", description="namespace of the nodes"),
)


def generate_launch_description() -> LaunchDescription:
    """Arguments first, then the nodes as the arguments say."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_nodes)])


def make_nodes(context: LaunchContext) -> list[Node | RegisterEventHandler]:
    """The nodes for the arguments given. All end with the scorer, or when one of them ends too early."""
    argument = {each.name: LaunchConfiguration(each.name).perform(context) for each in ARGUMENTS}
    shared = _policy_launch_file()
    common = {
        "package": "policy_ros",
        "namespace": argument["namespace"],
        "output": "screen",
        "prefix": shared.interpreter_prefix(context),
        "additional_env": shared.middleware_profile(context),
    }
    policy = Node(executable="policy_node", parameters=_node_parameters(argument), **common)
    scorer = Node(executable="replay_scorer", arguments=_scorer_arguments(argument), **common)
    nodes = [policy, scorer]
    if argument["player"] == "own":
        words = [argument["bag"], "--params-file", argument["params_file"], "--rate", argument["rate"]]
        words.append("--wait-for-scorer")
        nodes.append(Node(executable="bag_player", arguments=words, **common))
    return [*nodes, *(_end_with(node) for node in nodes)]


def _node_parameters(argument: dict[str, str]) -> list[str | dict[str, Any]]:
    """The user's, but on the recording's clock, silent, and patient where somebody else plays."""
    own = argument["player"] == "own"
    values: dict[str, Any] = {
        "use_sim_time": True,
        "enable_commands": False,
        "autostart": not own,  # the own player activates it on every episode
        "status_rate_hz": _STATUS_RATE_HZ,
        "observation.activation_timeout_s": _ACTIVATION_TIMEOUT_S,
    }
    if argument["policy"]:
        values["policy.path"] = argument["policy"]
    return [argument["params_file"], values]


def _scorer_arguments(argument: dict[str, str]) -> list[str]:
    words = [argument["bag"], "--params-file", argument["params_file"], "--out", argument["out"]]
    if argument["policy"]:
        words += ["--policy", argument["policy"]]
    return [*words, *(["--overwrite"] if argument["overwrite"] == "true" else [])]


def _end_with(node: Node) -> RegisterEventHandler:
    """The end of everything once a node ends, but for a player that has played all: the scorer listens on."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if node.node_executable == "bag_player" and event.returncode == 0:
            return None
        return Shutdown(reason=f"{node.node_executable} ended with status {event.returncode}")

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=on_exit))


def _policy_launch_file() -> ModuleType:
    """Interpreter and middleware profile are chosen as in policy.launch.py."""
    specification = importlib.util.spec_from_file_location(
        "policy_launch", Path(__file__).resolve().with_name("policy.launch.py")
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
