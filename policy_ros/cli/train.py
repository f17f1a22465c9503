# SPDX-License-Identifier: Apache-2.0
"""``policy-ros train``: from bags to a checkpoint."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from policy_ros.errors import ConfigurationError
from policy_ros.parameters.schema import Leaf, leaves
from policy_ros.training.options import (
    TrainingOptions,
    make_options,
    normalized,
    read_options_file,
)

_EXTRA = ("lightning", "torchmetrics")
_INTERRUPTED = 128  # and the number of the signal, as shells have it


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand; its options are those of the schema."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="a policy from recorded bags",
        description="Trains a policy on recorded bags, into a checkpoint that the node loads; docs/training.md. "
        "Options left out have the default that is told, and may come from a file (--config).",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the checkpoint goes")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="options as YAML, or the training.json of another training"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    parser.add_argument("--overwrite", action="store_true", help="remove the training in --out first")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the policy, value as YAML; repeatable",
    )
    for leaf in leaves(TrainingOptions):
        _add(parser, leaf)
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Train and print."""
    given = _given(arguments)
    if arguments.resume and arguments.overwrite:
        raise ConfigurationError("--resume and --overwrite exclude each other: go on, or begin anew")
    options = None if arguments.resume else make_options(given)
    _require_extra()
    from policy_ros.training.bag_data import open_bag_data
    from policy_ros.training.progress import ProgressLine, as_json, summary
    from policy_ros.training.run import train

    line = ProgressLine(sys.stderr)
    try:
        result = train(
            options,
            arguments.out,
            lambda options: open_bag_data(options, line.say),
            given=given if arguments.resume else None,
            overwrite=arguments.overwrite,
            watch=line,
            say=line.say,
        )
    except KeyboardInterrupt:
        line.say("stopped before the first step")
        return _INTERRUPTED + 2
    print(json.dumps(as_json(result)) if arguments.json else summary(result))
    return 0 if result.signal is None else _INTERRUPTED + result.signal.value


def _add(parser: argparse.ArgumentParser, leaf: Leaf) -> None:
    flag, constraint = f"--{leaf.name.replace('_', '-')}", leaf.constraint
    text = constraint.description.replace("%", "%%")
    if leaf.type is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    shown = "" if leaf.default in ("", ()) else f"; default {leaf.default}"
    parser.add_argument(
        flag,
        type=leaf.scalar,
        nargs="+" if leaf.is_array else None,
        choices=[choice for choice in constraint.choices if choice] or None,
        metavar=None if constraint.choices else leaf.scalar.__name__.upper(),
        help=text + shown,
    )


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the file and the command line name; the command line wins."""
    values = normalized(read_options_file(arguments.config)) if arguments.config else {}
    named = {leaf.name: getattr(arguments, leaf.name) for leaf in leaves(TrainingOptions)}
    values |= {name: value for name, value in named.items() if value is not None}
    values = normalized(values)
    if arguments.set:
        overrides = {**json.loads(values.get("overrides") or "{}"), **dict(map(_assignment, arguments.set))}
        values = normalized({**values, "overrides": overrides})
    return values


def _assignment(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ConfigurationError(f"--set: expected NAME=VALUE, e.g. chunk_size=20, got '{text}'")
    try:
        return name.strip(), _number(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"--set {name}: expected YAML, got '{value}' ({' '.join(str(error).split())})"
        ) from None


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-4, without a point, for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _require_extra() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"training needs {' and '.join(missing)}: pip install 'policy_ros[train]'")
