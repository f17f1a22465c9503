# SPDX-License-Identifier: Apache-2.0
"""``policy-ros sim``: the simulated robot on ROS topics, or a picture of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from policy_ros.cli import sim_expert
from policy_ros.cli.sim_expert import robot_values
from policy_ros.ros.children import Child, parameter_arguments
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.process import stop_on_signals

_POLL_S = 0.2


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand."""
    parser = commands.add_parser(
        "sim", help="simulate a robot", description="A gymnasium environment as a robot on ROS topics; Ctrl-C ends it."
    )
    parser.add_argument("--env", metavar="ID", help="gymnasium environment (env_id); default policy_ros/Pick-v0")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode")
    parser.add_argument("--params-file", metavar="FILE", type=Path, action="append", default=[], help="parameter file")
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="one parameter; may be repeated",
    )
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="save a picture of the robot and end")
    sim_expert.add_arguments(parser)
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C, or save the picture."""
    if arguments.picture:
        from policy_ros.simulation.picture import save_picture

        save_picture(arguments.picture, arguments.seed)
        summary = {"picture": str(arguments.picture), "seed": arguments.seed}
        print(json.dumps(summary) if arguments.json else f"picture of seed {arguments.seed}: {arguments.picture}")
        return 0
    if arguments.expert or arguments.record or arguments.episodes:
        return sim_expert.execute(arguments)
    stop = threading.Event()
    stop_on_signals(stop)
    with TemporaryDirectory() as folder:
        robot = Child(
            "simulated_robot",
            parameter_arguments(arguments.params_file, robot_values(arguments), Path(folder)),
            environment=with_middleware_profile(os.environ),
        )
        while robot.running and not stop.wait(_POLL_S):
            pass
        exit_status = robot.stop()
    if arguments.json:
        print(json.dumps({"exit_status": exit_status}))
    else:
        print(f"simulated robot ended with status {exit_status}", file=sys.stderr)
    return exit_status
