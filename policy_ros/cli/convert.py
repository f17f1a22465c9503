# SPDX-License-Identifier: Apache-2.0
"""``policy-ros convert``: pickled originals of policies to checkpoints that are safe to load."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_RANGE = re.compile(r"(\d{1,6}):(\d{1,6})")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand and, below it, what can be converted."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="pickled checkpoints to safe ones",
        description="Converts pickled originals of policies to checkpoints that are safe to load; docs/convert.md.",
    )
    kinds = parser.add_subparsers(dest="original", required=True, metavar="ORIGINAL")
    for kind in (_add_act(kinds), _add_diffusion(kinds), _add_components(kinds)):
        kind.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the checkpoint")
        kind.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
        # Suppressed, so that it does not undo a --json in front of the kind.
        kind.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout and nothing else"
        )
    return parser


def _add_act(kinds: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        "act", help="ACT of its authors: policy_best.ckpt and dataset_stats.pkl"
    )
    parser.add_argument("source", type=Path, help="policy_best.ckpt or its directory; dataset_stats.pkl beside it")
    parser.add_argument(
        "--cameras", required=True, metavar="NAMES", help="camera_names of the original's task, with commas, in order"
    )
    parser.add_argument("--image-size", type=_size, required=True, metavar="HxW", help="of its images, such as 480x640")
    parser.add_argument("--heads", type=int, default=8, help="of attention; default: 8, as in the original's script")
    parser.add_argument("--dilation", action="store_true", help="its backbone was made with --dilation")
    parser.add_argument(
        "--temporal-agg",
        action="store_true",
        help="a prediction at every step, averaged, as in the original",
    )
    parser.add_argument("--kl-weight", type=float, default=10.0, help="for further training; default: 10")
    parser.set_defaults(execute_original=_act)
    return parser


def _add_diffusion(kinds: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        "diffusion", help="Diffusion Policy of its authors: a workspace's checkpoint"
    )
    parser.add_argument("source", type=Path, help="checkpoint of a workspace, such as latest.ckpt")
    parser.add_argument(
        "--state",
        type=_range,
        metavar="A:B",
        help="without images: entries A to B - 1 of its vector are observation.state, the others the environment's",
    )
    parser.set_defaults(execute_original=_diffusion)
    return parser


def _add_components(kinds: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        "components", help="{component}.pt, the weights of components, each a state_dict"
    )
    parser.add_argument("source", type=Path, help="directory with such files, or one of them")
    parser.set_defaults(execute_original=_components)
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Convert, and say what came out."""
    converted = arguments.execute_original(arguments)
    if arguments.json:
        features = {key: list(shape) for key, shape in converted.features.items()}
        summary = {
            "out": str(converted.out),
            "policy": converted.policy,
            "tensors": converted.tensors,
            "features": features,
            "notes": list(converted.notes),
        }
        print(json.dumps(summary))
        return 0
    print(f"{converted.out}: {converted.policy}, {converted.tensors} tensors")
    for key, shape in converted.features.items():
        print(f"  {key} {shape}")
    for note in converted.notes:
        print(f"  {note}")
    return 0


def _act(arguments: argparse.Namespace) -> Any:
    from policy_ros.conversion.act import ACTAnswers, convert_act

    answers = ACTAnswers(
        cameras=tuple(name.strip() for name in arguments.cameras.split(",")),
        image_size=arguments.image_size,
        heads=arguments.heads,
        dilation=arguments.dilation,
        temporal_aggregation=arguments.temporal_agg,
        kl_weight=arguments.kl_weight,
    )
    return convert_act(arguments.source, arguments.out, answers, overwrite=arguments.overwrite)


def _diffusion(arguments: argparse.Namespace) -> Any:
    from policy_ros.conversion.diffusion import convert_diffusion

    return convert_diffusion(arguments.source, arguments.out, state=arguments.state, overwrite=arguments.overwrite)


def _components(arguments: argparse.Namespace) -> Any:
    from policy_ros.conversion.components import convert_components

    return convert_components(arguments.source, arguments.out, overwrite=arguments.overwrite)


def _size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected height x width, such as 480x640, got '{text}'")
    return int(found[1]), int(found[2])


def _range(text: str) -> range:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a first and a last entry plus one, such as 18:20, got '{text}'")
    return range(int(found[1]), int(found[2]))
