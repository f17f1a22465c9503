# SPDX-License-Identifier: Apache-2.0
"""``policy-ros replay reproduce``: does the policy answer here what it answered on the robot? docs/replay.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from policy_ros.parameters.node import NodeParameters
    from policy_ros.replay.reproduction import Reproduction

DESCRIPTION = (
    "Lets a policy answer again to the very observations that recorded action chunks were computed from, and compares. "
    "Exit status: 0 all are reproduced; 1 some are not, or could not be compared; 2 usage."
)
TOLERANCE = 1e-5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="with the node's inputs and ~/action_chunk")
    parser.add_argument("--policy", required=True, metavar="DIR", help="the checkpoint that the node ran")
    parser.add_argument("--revision", metavar="HASH", help="commit of a hub checkpoint")
    parser.add_argument("--device", metavar="DEVICE", help="default: the GPU where there is one")
    parser.add_argument(
        "--params-file",
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="parameters that the node had; may be repeated",
    )
    parser.add_argument("-p", dest="parameters", metavar="NAME:=VALUE", action="append", default=[], help="one of them")
    parser.add_argument("--namespace", default="/", metavar="NS", help="of the node; default /")
    parser.add_argument("--topic", metavar="TOPIC", help="of the chunks; default: the only one of their type")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="X", help=f"[rad, m]; default {TOLERANCE:g}"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")


def execute(arguments: argparse.Namespace) -> int:
    """Compare and print. 0: all chunks are reproduced; 1: some are not, or could not be compared."""
    from policy_ros.policies import load_policy
    from policy_ros.replay.options import ReplayOptions
    from policy_ros.replay.reproduction import reproduce

    options = ReplayOptions(_parameters(arguments), namespace=arguments.namespace)
    policy = load_policy(arguments.policy, revision=arguments.revision, device=arguments.device)
    policy.freeze()
    policy.warmup()
    found = [reproduce(bag, policy, options, topic=arguments.topic) for bag in arguments.bags]
    if arguments.json:
        bags = [_as_json(each, arguments.tolerance) for each in found]
        print(json.dumps({"policy": arguments.policy, "tolerance": arguments.tolerance, "bags": bags}))
    else:
        print("\n".join(line for each in found for line in _lines(each, arguments.tolerance)))
    return 0 if all(_holds(each, arguments.tolerance) for each in found) else 1


def _parameters(arguments: argparse.Namespace) -> NodeParameters:
    from policy_ros.parameters.files import read_parameters
    from policy_ros.ros.children import parameter_arguments

    with TemporaryDirectory() as folder:
        files = parameter_arguments(arguments.params_file, arguments.parameters, Path(folder))[1::2]
        if not files:
            raise ConfigurationError("expected --params-file, got none; it names the joints, cameras and topics")
        return read_parameters(*files)


def _holds(found: Reproduction, tolerance: float) -> bool:
    largest = found.largest
    return largest is not None and largest <= tolerance and len(found.differences) == len(found.chunks)


def _as_json(found: Reproduction, tolerance: float) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "topic": found.topic,
        "chunks": len(found.chunks),
        "compared": len(found.differences),
        "largest_difference": found.largest,
        "reproduced": _holds(found, tolerance),
        "problems": list(found.problems),
    }


def _lines(found: Reproduction, tolerance: float) -> list[str]:
    compared, chunks = len(found.differences), len(found.chunks)
    if found.largest is None:
        said = "no chunk could be compared: their observations are not in the recording"
    else:
        verdict = "reproduced" if _holds(found, tolerance) else "NOT reproduced"
        said = f"{verdict}; the largest difference is {found.largest:.3g}, {tolerance:g} is allowed"
    lines = [f"{found.path}: {compared} of {chunks} chunks on '{found.topic}' compared: {said}"]
    beyond = [chunk for chunk in found.chunks if chunk.difference is not None and chunk.difference > tolerance]
    lines += [f"  chunk {chunk.sequence}: differs by {chunk.difference:.3g}" for chunk in beyond[:10]]
    return [*lines, *(f"  {problem}" for problem in found.problems)]
