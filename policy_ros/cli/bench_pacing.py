# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench pacing``: an rclpy timer and the control thread, idle and beside other work; docs/pacing.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from policy_ros.execution import why_refused

if TYPE_CHECKING:
    from policy_ros.bench.pacing import Pacing, Result

DEFAULT_PRIORITY = 50


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = commands.add_parser(
        "pacing",
        help="the period of the control tick",
        description="Measures how an rclpy timer and the control thread keep their period: idle, beside inferences "
        "without a pause, and beside busy Python; with real-time priority too, where it is permitted.",
    )
    parser.add_argument("--rate", type=float, default=50.0, metavar="HZ", help="nominal rate; default 50")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of up to 12 conditions; default 20")
    parser.add_argument("--device", default="", help="torch device; default: CUDA if there is one, else the CPU")
    parser.add_argument(
        "--realtime-priority",
        type=int,
        choices=range(99),
        default=DEFAULT_PRIORITY,
        metavar="N",
        help=f"measured besides normal scheduling; 0: do not; default {DEFAULT_PRIORITY}",
    )
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from policy_ros.bench import pacing
    from policy_ros.bench.loads import BusyPython, Idle, Inference

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    left_out: list[str] = []
    inference = Inference(arguments.rate, arguments.device)
    with _pacings(left_out) as pacings:
        results = pacing.measure(
            pacings,
            (Idle(), inference, BusyPython()),
            rate_hz=arguments.rate,
            seconds=arguments.seconds,
            priorities=_priorities(arguments.realtime_priority, left_out),
            report=report,
        )
    summary = {
        "rate_hz": arguments.rate,
        "seconds": arguments.seconds,
        "device": str(inference.policy.device),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "left_out": left_out,
        "results": [pacing.as_dict(result) for result in results],
    }
    print(json.dumps(summary) if arguments.json else readable(summary, results))
    return 0


@contextmanager
def _pacings(left_out: list[str]) -> Iterator[Sequence[Pacing]]:
    from policy_ros.bench.pacing import ThreadPacing

    try:
        from policy_ros.ros.timer_pacing import TimerPacing
    except ImportError as error:
        left_out.append(f"rclpy timer: {error}")
        yield (ThreadPacing(),)
        return
    timer = TimerPacing()
    try:
        yield (timer, ThreadPacing())
    finally:
        timer.close()


def _priorities(wanted: int, left_out: list[str]) -> tuple[int, ...]:
    refusal = why_refused(wanted)
    if refusal:
        left_out.append(refusal)
    return (0,) if refusal or wanted == 0 else (0, wanted)


_COLUMNS: dict[str, Callable[[Any], str]] = {
    "p50": lambda p: f"{p.p50:.3f}",
    "p99": lambda p: f"{p.p99:.3f}",
    "longest": lambda p: f"{p.longest:.2f}",
    "sd": lambda p: f"{p.sd:.3f}",
    "missed": lambda p: f"{p.missed}",
    "periods": lambda p: f"{p.count}",
}


def readable(summary: dict[str, Any], results: Sequence[Result]) -> str:
    """A table in Markdown, periods as multiples of the nominal one."""
    lines = [
        f"Periods as multiples of {1e3 / summary['rate_hz']:g} ms; {summary['cpus']} CPUs, inference on "
        f"{summary['device']}, kernel {summary['kernel']}, Python {summary['python']}",
        "",
        f"| beside | pacing | scheduling | {' | '.join(_COLUMNS)} |",
        f"|---|---|---|{'---:|' * len(_COLUMNS)}",
    ]
    for result in results:
        condition = result.condition
        scheduling = f"FIFO {condition.realtime_priority}" if condition.realtime_priority else "normal"
        values = " | ".join(show(result.periods) for show in _COLUMNS.values())
        lines.append(f"| {condition.load} | {condition.pacing} | {scheduling} | {values} |")
    inferring = [result.load for result in results if result.load]
    if inferring:
        latency_ms = sorted(load["inference_ms"] for load in inferring)
        share = min(load["inference_share"] for load in inferring)
        lines += [
            "",
            f"Inference: {latency_ms[0]:.0f} to {latency_ms[-1]:.0f} ms, at least {share:.0%} of the time.",
        ]
    return "\n".join([*lines, *(f"Left out: {reason}" for reason in summary["left_out"])])
