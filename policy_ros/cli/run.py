# SPDX-License-Identifier: Apache-2.0
"""``policy-ros run``: the policy node with a live line, without ``ros2 launch``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from policy_ros.ros.children import Child, parameter_arguments
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.process import stop_on_signals

_LINE_EVERY_S = 1.0


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand."""
    parser = commands.add_parser(
        "run",
        help="run a policy on the robot",
        description="Configure and activate the policy node; Ctrl-C holds the robot and ends it.",
    )
    parser.add_argument("--policy", metavar="DIR", help="checkpoint directory or hub id (policy.path)")
    parser.add_argument(
        "--params-file", metavar="FILE", type=Path, action="append", default=[], help="parameter file; may be repeated"
    )
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="one parameter; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="everything but the command topics")
    parser.add_argument("--namespace", default="", help="ROS namespace of the node")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C or until the node ends."""
    stop = threading.Event()
    stop_on_signals(stop)
    with TemporaryDirectory() as folder:
        return _watch(arguments, ros_arguments(arguments, Path(folder)), stop)


def _watch(arguments: argparse.Namespace, node_arguments: list[str], stop: threading.Event) -> int:
    """Start the node, tell how it is doing, end it."""
    node = Child("policy_node", node_arguments, environment=with_middleware_profile(os.environ))
    from policy_ros.ros.monitor import Monitor, status_line

    monitor = None
    try:
        monitor = Monitor(namespace=arguments.namespace)
        while node.running and not stop.wait(_LINE_EVERY_S):
            if not arguments.json and monitor.status is not None:
                print(status_line(monitor.status), file=sys.stderr)
    finally:
        exit_status = node.stop()
        summary = {**(monitor.summary() if monitor else {}), "exit_status": exit_status}
        if monitor:
            monitor.close()
    print(json.dumps(summary) if arguments.json else readable(summary))
    return exit_status


def ros_arguments(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """What the command line means as ROS arguments; single values override files, through a file in ``folder``."""
    values = ["autostart:=true", *arguments.parameters]
    if arguments.policy:
        values.append(f"policy.path:={arguments.policy}")
    if arguments.dry_run:
        values.append("enable_commands:=false")
    result = parameter_arguments(arguments.params_file, values, folder)
    if arguments.namespace:
        result += ["-r", f"__ns:=/{arguments.namespace.strip('/')}"]
    return result


def readable(summary: dict[str, Any], indent: str = "") -> str:
    """Nested numbers as aligned lines."""
    lines = []
    for key, value in summary.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", readable(value, indent + "  ")]
        else:
            text = f"{value:.3f}" if isinstance(value, float) else str(value)
            lines.append(f"{indent}{key + ':':<24} {text}")
    return "\n".join(lines)
