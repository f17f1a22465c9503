# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench``: dispatches to the benchmarks, one module each, which need no ROS."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from policy_ros.cli import bench_bags, bench_execution, bench_pacing, bench_replay

# Each has add_parser(commands) and execute(arguments), as a subcommand.
_BENCHMARKS: tuple[ModuleType, ...] = (bench_bags, bench_execution, bench_pacing, bench_replay)


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand and, below it, the benchmarks."""
    parser = commands.add_parser("bench", help="measure", description="Benchmarks of policy_ros.")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for module in _BENCHMARKS:
        benchmark = module.add_parser(benchmarks)
        # Suppressed, so that it does not undo a --json in front of the benchmark's name.
        benchmark.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout and nothing else"
        )
        benchmark.set_defaults(execute_benchmark=module.execute)
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Run the benchmark that was asked for."""
    status: int = arguments.execute_benchmark(arguments)
    return status
