# SPDX-License-Identifier: Apache-2.0
"""``policy-ros record``: the topics of a configuration as a rosbag2, with the boundaries of episodes."""

from __future__ import annotations

import argparse
import json
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from policy_ros.errors import ConfigurationError
from policy_ros.ros.children import parameter_arguments
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.process import run_process

_STORAGES = ("mcap", "sqlite3")
_COMPRESSIONS = ("none", "zstd")
_MB = 2**20


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand."""
    parser = commands.add_parser(
        "record",
        help="record demonstrations into a bag",
        description="Records the inputs and commands of a configuration as a rosbag2, episode by episode. "
        "Exit status: 0 all is recorded; 1 recorded, but something is missing; 2 not started.",
    )
    parser.add_argument(
        "--params-file",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="parameter file of the policy node; may be repeated",
    )
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="one parameter; may be repeated",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the bag: a directory to be made")
    parser.add_argument("--storage", choices=_STORAGES, default="mcap", help="default: mcap")
    parser.add_argument("--compression", choices=_COMPRESSIONS, default="none", help="default: none")
    parser.add_argument("--split-mb", type=float, default=0.0, metavar="MB", help="begin a new file after so much")
    parser.add_argument("--task", default="", metavar="TEXT", help="what is to be done; default: policy.prompt")
    parser.add_argument(
        "--action-topic",
        default="",
        metavar="TOPIC",
        help="joint states of a leader arm, recorded in place of the command topics",
    )
    parser.add_argument(
        "--extra-topic", default=[], metavar="TOPIC", action="append", help="recorded too; may be repeated"
    )
    parser.add_argument("--episodes", type=int, default=0, metavar="N", help="end after so many episodes")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="end after so many seconds")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="longest wait for the topics")
    parser.add_argument("--namespace", default="", help="ROS namespace of the recorder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--manual",
        dest="mode",
        action="store_const",
        const="manual",
        help="episodes by keys and by the services of policy_recorder (default)",
    )
    mode.add_argument(
        "--follow-episodes",
        dest="mode",
        action="store_const",
        const="follow-episodes",
        help="episodes by the topic `episode`",
    )
    mode.add_argument(
        "--continuous", dest="mode", action="store_const", const="continuous", help="everything, without episodes"
    )
    parser.set_defaults(mode="manual")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Record until it is over."""
    for name in ("episodes", "duration", "split_mb", "timeout"):
        if getattr(arguments, name) < 0:
            raise ConfigurationError(f"--{name.replace('_', '-')}: expected 0 or more, got {getattr(arguments, name)}")
    if arguments.mode == "continuous" and arguments.episodes:
        raise ConfigurationError("--episodes: a continuous recording knows none; leave it out, or use --duration")
    # Before the middleware of this process starts.
    os.environ.update(with_middleware_profile(os.environ))
    namespace = f"/{arguments.namespace.strip('/')}" if arguments.namespace else ""
    with TemporaryDirectory() as folder:
        files = parameter_arguments(arguments.params_file, arguments.parameters, Path(folder))
        ros_arguments = ["--ros-args", *files]
        if namespace:
            ros_arguments += ["-r", f"__ns:={namespace}"]
        return run_process(
            "policy_recorder", ros_arguments, lambda stop: _record(arguments, files[1::2], namespace, stop)
        )


def _record(arguments: argparse.Namespace, files: list[str], namespace: str, stop: threading.Event) -> int:
    from policy_ros.parameters.files import read_parameters
    from policy_ros.ros.recorder.options import Mode, RecordOptions
    from policy_ros.ros.recorder.report import readable
    from policy_ros.ros.recorder.session import Session

    options = RecordOptions(
        out=arguments.out,
        mode=Mode(arguments.mode),
        storage=arguments.storage,
        compression=arguments.compression,
        split_bytes=round(arguments.split_mb * _MB),
        task=arguments.task,
        action_topic=arguments.action_topic,
        extra_topics=tuple(arguments.extra_topic),
        episodes=arguments.episodes,
        duration_s=arguments.duration,
        timeout_s=arguments.timeout,
    )
    parameters = read_parameters(*files, node=f"{namespace}/policy")
    summary = Session(parameters, options, stop, quiet=arguments.json).run()
    print(json.dumps(summary) if arguments.json else readable(summary))
    return int(summary["exit_status"])
