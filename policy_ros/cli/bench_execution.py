# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench execution``: every mode under inferences of known duration, on a virtual clock."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from policy_ros.bench.execution.episode import Trace
    from policy_ros.bench.execution.suite import Cell


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = commands.add_parser(
        "execution",
        help="modes of execution under delay",
        description="Runs an arm along a path with obstacles, under every mode and delay of the inferences: task time, "
        "tracking error, seams, accelerations, holds. In virtual time, so the same every time; docs/execution.md.",
    )
    parser.add_argument("--modes", default="", metavar="A,B", help="default: all five")
    parser.add_argument("--delays", default="0,50,100,150,200,250,300", metavar="MS,MS", help="of every inference [ms]")
    parser.add_argument("--episodes", type=int, default=10, help="of each mode and delay; default 10")
    parser.add_argument("--seed", type=int, default=0, help="of noise and jitter")
    parser.add_argument(
        "--policy", default="stub", metavar="stub|flow|all|DIR", help="closed form, trained here, both, or a checkpoint"
    )
    parser.add_argument("--stub-steps", type=int, default=20, metavar="N", help="Euler steps of the stub; default 20")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="SHARE", help="of the delay, to either side")
    parser.add_argument("--spikes", type=float, default=0.0, metavar="MS", help="more for every eighth inference [ms]")
    parser.add_argument(
        "--variants", action="store_true", help="rtc also with a hard mask, and with the identity as Jacobian"
    )
    parser.add_argument("--infeasible", action="store_true", help="also a delay that no mode can hide (800 ms)")
    parser.add_argument("--trace", type=Path, metavar="DIR", help="save the first episode of each as CSV")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw pictures (needs matplotlib)")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="of trained policies; default ~/.cache/policy_ros/bench"
    )
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Run and print."""
    from policy_ros.bench.execution import report
    from policy_ros.bench.execution.contenders import make_contenders
    from policy_ros.bench.execution.findings import findings
    from policy_ros.bench.execution.suite import INFEASIBLE_MS, MODES, SuiteOptions, run_suite
    from policy_ros.bench.execution.task import PERIOD_S, ForkedPath
    from policy_ros.bench.execution.traces import save_trace
    from policy_ros.bench.execution.training import default_cache

    if arguments.plots:
        from policy_ros.bench.execution.plots import Gallery, require_matplotlib

        require_matplotlib()  # before the long part
        gallery = Gallery(arguments.plots)
    delays = _delays(arguments.delays)
    options = SuiteOptions(
        modes=tuple(arguments.modes.split(",")) if arguments.modes else MODES,
        delays_ms=(*delays, INFEASIBLE_MS) if arguments.infeasible else delays,
        episodes=arguments.episodes,
        seed=arguments.seed,
        jitter=arguments.jitter,
        spike_ms=arguments.spikes,
        variants=arguments.variants,
    )
    path = ForkedPath()
    contenders = make_contenders(arguments.policy, path, arguments.stub_steps, arguments.cache or default_cache(), _say)
    policy = ""

    def watch(cell: Cell, trace: Trace) -> None:
        nonlocal policy
        if not arguments.json:
            if cell.policy != policy:
                description = next(one.description for one in contenders if one.name == cell.policy)
                print(f"\n{cell.policy}: {description}\n{report.header()}")
            print(report.line(cell), flush=True)
        policy = cell.policy
        if arguments.trace:
            save_trace(arguments.trace, cell, trace)
        if arguments.plots:
            gallery.add(cell, trace)

    cells = run_suite(path, contenders, options, watch)
    found = findings(cells)
    if arguments.plots:
        for file in gallery.draw():
            _say(f"drawn: {file}")
    reference = path.peak_acceleration(PERIOD_S)
    if arguments.json:
        print(json.dumps(report.as_json(options, contenders, cells, found, reference)))
    else:
        print(f"\n{report.LEGEND}\nThe reference's own peak acceleration is {reference:.1f} rad/s2.\n")
        print("\n".join(report.finding_line(finding) for finding in found))
    return 0


def _delays(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--delays: expected milliseconds separated by commas, got '{text}'") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
