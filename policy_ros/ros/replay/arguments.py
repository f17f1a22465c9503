# SPDX-License-Identifier: Apache-2.0
"""What the player's and the scorer's executables have in common: their words, beside those of ROS."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rclpy.utilities import remove_ros_args

from policy_ros.parameters.files import read_parameters
from policy_ros.parameters.node import NodeParameters
from policy_ros.parameters.topics import NODE_NAME


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the bag and the parameters of the policy node."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("bag", metavar="BAG", type=Path, help="rosbag2 directory or file")
    parser.add_argument(
        "--params-file",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="of the policy node; may be repeated",
    )
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The words without those of ROS (``--ros-args …``)."""
    return parser.parse_args(remove_ros_args(args=["", *argv])[1:])


@dataclass(frozen=True)
class PolicyNode:
    """The node that is meant: the one in this process's namespace.

    Attributes:
        namespace: absolute.
        parameters: as its files say.
    """

    namespace: str
    parameters: NodeParameters

    @classmethod
    def of(cls, namespace: str, files: Sequence[Path]) -> PolicyNode:
        """Read its files."""
        root = namespace.rstrip("/")
        return cls(namespace, read_parameters(*files, node=f"{root}/{NODE_NAME}"))

    @property
    def name(self) -> str:
        """Full."""
        return f"{self.namespace.rstrip('/')}/{NODE_NAME}"
