# SPDX-License-Identifier: Apache-2.0
"""``policy-ros``: dispatches to the subcommands.

Each prints a readable summary, or with ``--json`` one JSON object on stdout and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from policy_ros.cli import bench, convert, dataset, doctor, eval_env, record, replay, run, sim, train
from policy_ros.errors import PolicyRosError

_COMMANDS = (run, sim, record, dataset, train, convert, replay, eval_env, doctor, bench)


def make_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="policy-ros", description="Run learned manipulation policies on a ROS 2 robot."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        command = module.add_parser(commands)
        command.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
        command.set_defaults(execute=module.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status of the subcommand, 2 for a usage error."""
    arguments = make_parser().parse_args(_with_whole_names(sys.argv[1:] if argv is None else argv))
    try:
        return arguments.execute(arguments)
    except PolicyRosError as error:
        print(f"policy-ros {arguments.command}: {error}", file=sys.stderr)
        return 2


def _with_whole_names(words: Sequence[str]) -> list[str]:
    """``replay compare`` as the one command that it is, and the like; a bag named like that is ``./compare``."""
    if (name := " ".join(words[:2])) in replay.TWO_WORDS:
        return [name, *words[2:]]
    return list(words)


if __name__ == "__main__":
    raise SystemExit(main())
