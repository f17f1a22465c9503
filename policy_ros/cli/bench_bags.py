# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench bags``: samples per second out of a bag, beside ``rosbags`` alone; docs/bags.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from policy_ros.bench.bag_reading import Result
    from policy_ros.parameters.node import NodeParameters

WANTED = 0.8


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = commands.add_parser(
        "bags",
        help="reading samples from bags",
        description="Reads samples (observation and commanded setpoint, one for each control period) from a bag, and "
        "beside it deserializes the same messages by rosbags alone, in turns. Without --bag from a bag made up for it: "
        "two cameras 640x480 rgb8 at 30 Hz, joints at 100 Hz, commands at 50 Hz.",
    )
    parser.add_argument("--bag", type=Path, metavar="DIR", help="a bag; needs --params-file")
    parser.add_argument(
        "--params-file", type=Path, action="append", default=[], metavar="FILE", help="the node's, which the bag is of"
    )
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="of the bag made up")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the bag made up; default 10 (0.55 GB)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each way of reading; default 5")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from policy_ros.bench import bag_reading, recording

    if arguments.turns < 1 or arguments.seconds < 1.0:
        raise ConfigurationError(
            f"expected --turns and --seconds of at least 1, got {arguments.turns} and {arguments.seconds:g}"
        )
    with tempfile.TemporaryDirectory(prefix="policy_ros_bench_") as folder:
        if arguments.bag is None:
            path, parameters = Path(folder) / "bag", recording.parameters()
            _say(f"writing {arguments.seconds:g} s of {arguments.storage} into {folder}")
            recording.record(path, arguments.seconds, arguments.storage)
            _flush(path)
        else:
            path, parameters = arguments.bag, _parameters(arguments.params_file)
        result = bag_reading.measure(path, parameters, turns=arguments.turns, report=_say)
        megabytes = sum(file.stat().st_size for file in path.rglob("*")) / 1e6 if path.is_dir() else 0.0
    summary = {
        "bag": str(arguments.bag) if arguments.bag else f"made up, {arguments.seconds:g} s, {arguments.storage}",
        "megabytes": round(megabytes, 1),
        "messages": result.messages,
        "samples": result.samples,
        "moments": result.moments,
        "rosbags_s": result.rosbags_s,
        "policy_ros_s": result.policy_ros_s,
        "samples_per_second": result.samples / statistics.median(result.policy_ros_s),
        "samples_per_second_rosbags": result.samples / statistics.median(result.rosbags_s),
        "ratio": result.ratio,
        "rosbags_cpu_s": result.rosbags_cpu_s,
        "policy_ros_cpu_s": result.policy_ros_cpu_s,
        "cpu_ratio": result.cpu_ratio,
        "rosbags": version("rosbags"),
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(summary) if arguments.json else readable(summary, result))
    return 0


def _flush(path: Path) -> None:
    """Have everything written to the disk: what is still being written takes time from whoever reads."""
    for file in path.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _parameters(files: list[Path]) -> NodeParameters:
    from policy_ros.parameters.files import read_parameters

    if not files:
        raise ConfigurationError(
            "expected --params-file beside --bag, got none; it names the topics that samples are of"
        )
    return read_parameters(*files)


def readable(summary: dict[str, Any], result: Result) -> str:
    """A table in Markdown."""
    lines = [
        f"Bag: {summary['bag']}, {summary['megabytes']:g} MB, {summary['messages']} messages, {summary['samples']} "
        f"samples of {summary['moments']} control periods; {summary['cpus']} CPUs, Python {summary['python']}",
        "",
        f"| medians of {len(result.rosbags_s)} turns | s | of the processor, s | samples/s |",
        "|---|---:|---:|---:|",
    ]
    for name, seconds, cpu, rate in (
        (
            f"rosbags {summary['rosbags']} alone, all messages",
            result.rosbags_s,
            result.rosbags_cpu_s,
            summary["samples_per_second_rosbags"],
        ),
        (
            "samples: observation and setpoint",
            result.policy_ros_s,
            result.policy_ros_cpu_s,
            summary["samples_per_second"],
        ),
    ):
        lines.append(f"| {name} | {statistics.median(seconds):.3f} | {statistics.median(cpu):.3f} | {rate:.0f} |")
    met = "holds" if result.ratio >= WANTED else "does not hold"
    lines += ["", f"Ratio {result.ratio:.2f}; at least {WANTED:g} is wanted, which {met}."]
    return "\n".join([*lines, f"Of the processor's time, which other programs change less: {result.cpu_ratio:.2f}."])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
