# SPDX-License-Identifier: Apache-2.0
"""The policy node, and with ``sim:=true`` a simulated robot for it to drive.

ros2 launch policy_ros policy.launch.py policy:=/path/to/checkpoint params_file:=/path/to/robot.yaml
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parent.parent
CONFIG = SHARE / "config"
# What the simulated robot does without policy:= and params_file:=, by type.
SHIPPED = {"": "pick_act", "act": "pick_act", "flow": "pick_flow"}
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # up to Jazzy, from Kilted on
BOOLEAN = ("true", "false")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")

ARGUMENTS = (
    DeclareLaunchArgument(
        "policy",
        default_value="",
        description="checkpoint directory or hub id; empty: as in params_file, with sim:=true one that comes along",
    ),
    DeclareLaunchArgument("type", default_value="", description="registered policy name; empty: as in the checkpoint"),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="parameter file, top key '/**'; empty with sim:=true: config/sim.yaml",
    ),
    DeclareLaunchArgument("sim", default_value="false", choices=BOOLEAN, description="start the simulated robot too"),
    DeclareLaunchArgument(
        "sim_params_file", default_value="", description="of the simulated robot; empty: config/sim_robot.yaml"
    ),
    DeclareLaunchArgument("namespace", default_value="", description="namespace of the nodes"),
    DeclareLaunchArgument(
        "autostart", default_value="true", choices=BOOLEAN, description="configure and activate on start"
    ),
    DeclareLaunchArgument("log_level", default_value="info", choices=LOG_LEVELS, description="of the policy node"),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=BOOLEAN, description="take the time from /clock"
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Arguments first, then the nodes as the arguments say."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_nodes)])


def make_nodes(context: LaunchContext) -> list[Node | LogInfo]:
    """The nodes for the arguments given."""
    argument = {each.name: LaunchConfiguration(each.name).perform(context) for each in ARGUMENTS}
    simulated = argument["sim"] == "true"
    note = choose_shipped_policy(argument)
    common = {
        "package": "policy_ros",
        "namespace": argument["namespace"],
        "output": "screen",
        "prefix": interpreter_prefix(context),
        "additional_env": middleware_profile(context),
    }
    actions: list[Node | LogInfo] = [
        Node(
            executable="policy_node",
            parameters=node_parameters(argument),
            arguments=["--ros-args", "--log-level", argument["log_level"]],
            **common,
        )
    ]
    if simulated:
        robot = argument["sim_params_file"] or str(CONFIG / "sim_robot.yaml")
        clock = {"publish_clock": argument["use_sim_time"] == "true"}
        actions.insert(0, Node(executable="simulated_robot", parameters=[robot, clock], **common))
    return [*([LogInfo(msg=note)] if note else []), *actions]


def choose_shipped_policy(argument: dict[str, str]) -> str:
    """Fill in a policy for the simulated robot where nothing names one; a line about it, or nothing."""
    name = SHIPPED.get(argument["type"])
    if argument["sim"] != "true" or argument["policy"] or argument["params_file"] or name is None:
        return ""
    argument["policy"] = str(SHARE / "checkpoints" / name)
    return f"no policy:= given: checkpoints/{name}, trained for the simulated robot"


def node_parameters(argument: dict[str, str]) -> list[str | dict[str, object]]:
    """The parameter file, then what the arguments say; an empty argument leaves the file's value."""
    parameters: list[str | dict[str, object]] = []
    if argument["params_file"]:
        parameters.append(argument["params_file"])
    elif argument["sim"] == "true":
        parameters.append(str(CONFIG / "sim.yaml"))
    given = {"policy.path": argument["policy"], "policy.type": argument["type"]}
    switches = {name: argument[name] == "true" for name in ("autostart", "use_sim_time")}
    return [*parameters, {**{name: value for name, value in given.items() if value}, **switches}]


def interpreter_prefix(context: LaunchContext) -> str | None:
    """The Python of the active virtual environment, in which torch is; without one, the one the executable names.

    ``ros2`` itself runs under the system's Python even when an environment is active (ros2cli#1024).
    """
    environment = context.environment
    if environment.get("POLICY_ROS_PYTHON"):
        return shlex.quote(environment["POLICY_ROS_PYTHON"])
    python = Path(environment.get("VIRTUAL_ENV", os.devnull)) / "bin" / "python"
    return shlex.quote(str(python)) if python.exists() else None


def middleware_profile(context: LaunchContext) -> dict[str, str]:
    """Room for camera images in Fast DDS's shared memory, unless a profile is set already."""
    if any(context.environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    return {name: str(CONFIG / "fastdds.xml") for name in PROFILE_VARIABLES}
