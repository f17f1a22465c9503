# SPDX-License-Identifier: Apache-2.0
"""``policy-ros dataset``: bags to LeRobot's dataset layout and back; docs/lerobot.md. Needs no ROS."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from policy_ros.parameters.files import read_parameters

_CODECS = ("av1", "h264", "h264-lossless")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand and, below it, export and import."""
    parser = commands.add_parser(
        "dataset", help="bags to LeRobot datasets and back", description="LeRobot's dataset layout v3; docs/lerobot.md."
    )
    directions = parser.add_subparsers(dest="direction", required=True, metavar="DIRECTION")
    for direction in (_add_export(directions), _add_import(directions)):
        # Suppressed, so that it does not undo a --json in front of the direction.
        direction.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout and nothing else"
        )
    return parser


def _add_export(directions: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = directions.add_parser(
        "export", help="bags to a LeRobot dataset", description="Writes the episodes of bags as a LeRobot dataset."
    )
    parser.add_argument(
        "--bags", type=Path, nargs="+", required=True, metavar="BAG", help="rosbag2 directories or files"
    )
    _add_common(parser, "directory of the dataset; must not exist")
    parser.add_argument("--task", help="what is done, in words; default: what the bags say")
    parser.add_argument("--fps", type=int, default=0, help="frames per second; default: execution.rate_hz")
    parser.add_argument("--robot-type", help="free text, e.g. so101_follower")
    parser.add_argument("--image-format", choices=("video", "png"), default="video", help="default: video")
    parser.add_argument("--video-codec", choices=_CODECS, default="h264", help="default: h264")
    parser.add_argument("--failures", action="store_true", help="episodes that failed, too")
    parser.add_argument(
        "--action-topic", metavar="TOPIC", help="JointState topic of a leader arm: its positions are the actions"
    )
    parser.add_argument(
        "--environment-dim",
        type=int,
        default=0,
        metavar="N",
        help="length of observation.environment_state; default: none",
    )
    parser.set_defaults(execute_direction=_export)
    return parser


def _add_import(directions: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = directions.add_parser(
        "import",
        help="a LeRobot dataset to bags",
        description="Writes a bag for each episode, as if a robot of these parameters had been recorded.",
    )
    parser.add_argument("dataset", type=Path, help="directory of a LeRobot dataset v3")
    _add_common(parser, "directory of the bags; must not exist")
    parser.add_argument(
        "--joints-by-order",
        action="store_true",
        help="the dataset's joints are joints.names in this order, whatever they are called in it",
    )
    parser.set_defaults(execute_direction=_import)
    return parser


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument(
        "--params-file", type=Path, action="append", required=True, metavar="FILE", help="the node's; may be repeated"
    )
    parser.add_argument("--namespace", default="/", metavar="NS", help="the node's, for relative topics; default: /")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=out)


def execute(arguments: argparse.Namespace) -> int:
    """Export or import."""
    status: int = arguments.execute_direction(arguments)
    return status


def _export(arguments: argparse.Namespace) -> int:
    from policy_ros.lerobot_dataset.exporting import ExportOptions, export_dataset

    options = ExportOptions(
        fps=arguments.fps,
        video_codec=arguments.video_codec if arguments.image_format == "video" else None,
        task=arguments.task,
        robot_type=arguments.robot_type,
        failures=arguments.failures,
        action_topic=arguments.action_topic,
        environment_dim=arguments.environment_dim,
        namespace=arguments.namespace,
    )
    parameters = read_parameters(*arguments.params_file)
    with _Progress() as progress:
        result = export_dataset(arguments.bags, parameters, arguments.out, options, progress=progress)
    info = result.info
    _report(result.problems)
    summary = {
        "out": str(arguments.out),
        "episodes": info.episodes,
        "frames": info.frames,
        "tasks": info.tasks,
        "fps": info.fps,
        "problems": list(result.problems),
    }
    text = (
        f"{arguments.out}: {info.episodes} episodes, {info.frames} frames at {info.fps} per second, {info.tasks} tasks"
    )
    print(json.dumps(summary) if arguments.json else text)
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from policy_ros.lerobot_dataset.importing import import_dataset

    parameters = read_parameters(*arguments.params_file)
    with _Progress() as progress:
        result = import_dataset(
            arguments.dataset,
            parameters,
            arguments.out,
            by_order=arguments.joints_by_order,
            namespace=arguments.namespace,
            progress=progress,
        )
    _report(result.problems)
    summary = {
        "out": str(arguments.out),
        "bags": [str(bag) for bag in result.bags],
        "frames": result.frames,
        "problems": list(result.problems),
    }
    print(
        json.dumps(summary) if arguments.json else f"{arguments.out}: {len(result.bags)} bags, {result.frames} frames"
    )
    return 0


def _report(problems: Sequence[str]) -> None:
    for problem in problems:
        print(problem, file=sys.stderr)


class _Progress:
    """A line on the terminal with the share that is done; elsewhere nothing."""

    def __enter__(self) -> Callable[[float], None]:
        self._shown = -1
        return self._show

    def _show(self, share: float) -> None:
        percent = int(100 * share)
        if sys.stderr.isatty() and percent != self._shown:
            print(f"\r{percent:3d} %", end="", file=sys.stderr, flush=True)
            self._shown = percent

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
