# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench replay``: speed and memory of a replay, beside reading the same bag; docs/replay.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from policy_ros.bench.replaying import Result
    from policy_ros.policies.base import Policy

WANTED_OF_READER = 0.8
WANTED_TIMES_REAL_TIME = 10.0


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = commands.add_parser(
        "replay",
        help="replaying bags",
        description="Replays a bag with a policy that answers at once and, with --policy, with that policy; beside it "
        "reads the same bag, in turns. Without --bag a bag made up for it: two cameras 640x480 rgb8 at 30 Hz, joints "
        "at 100 Hz, commands at 50 Hz.",
    )
    parser.add_argument("--bag", type=Path, metavar="DIR", help="a bag; needs --params-file")
    parser.add_argument(
        "--params-file", type=Path, action="append", default=[], metavar="FILE", help="the node's, which the bag is of"
    )
    parser.add_argument("--policy", metavar="DIR", help="checkpoint to replay too; needs --bag")
    parser.add_argument("--device", metavar="DEVICE", help="default: the GPU where there is one")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the bag made up; default 10 (0.55 GB)")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each; default 3")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from policy_ros.bench import recording, replaying
    from policy_ros.parameters.files import read_parameters

    if arguments.turns < 1 or arguments.seconds < 2.0:
        raise ConfigurationError(
            "expected --turns of at least 1 and --seconds of at least 2, got "
            f"{arguments.turns} and {arguments.seconds:g}"
        )
    if (arguments.bag is None) != (not arguments.params_file):
        raise ConfigurationError("expected --params-file beside --bag, got one of them; it names the bag's topics")
    if arguments.policy and arguments.bag is None:
        raise ConfigurationError("expected --bag beside --policy, got none; the policy observes what is in it")
    policy = _policy(arguments)
    with tempfile.TemporaryDirectory(prefix="policy_ros_bench_") as folder:
        if arguments.bag is None:
            path, parameters = Path(folder) / "bag", recording.parameters()
            _say(f"writing {arguments.seconds:g} s into {folder}")
            recording.record(path, arguments.seconds)
        else:
            path, parameters = arguments.bag, read_parameters(*arguments.params_file)
        result = replaying.measure(path, parameters, turns=arguments.turns, policy=policy, report=_say)
        files = path.rglob("*") if path.is_dir() else [path]
        megabytes = sum(file.stat().st_size for file in files) / 1e6
    summary = {
        "bag": str(arguments.bag) if arguments.bag else f"made up, {arguments.seconds:g} s",
        "policy": arguments.policy or "",
        "megabytes": round(megabytes, 1),
        "messages": result.messages,
        "recorded_s": result.recorded_s,
        "reading_s": result.feeding_s,
        "samples_s": result.sampling_s,
        "stub_s": result.stub_s,
        "policy_s": result.policy_s,
        "of_reader": result.of_reader,
        "of_reading": result.of_feeding,
        "times_real_time": result.times_real_time,
        "memory_growth_mb": result.memory_growth_mb,
        "memory_mb": [round(each, 1) for each in result.memory_mb],
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(summary) if arguments.json else readable(summary, result))
    return 0


def _policy(arguments: argparse.Namespace) -> Policy | None:
    if not arguments.policy:
        return None
    from policy_ros.policies import load_policy

    policy = load_policy(arguments.policy, device=arguments.device)
    policy.freeze()
    policy.warmup()
    return policy


def readable(summary: dict[str, Any], result: Result) -> str:
    """A table in Markdown."""
    rows = [
        ("reading: messages into an assembler", result.feeding_s),
        ("samples: observation and setpoint, every control period", result.sampling_s),
        ("replay of a policy that answers at once", result.stub_s),
        *([(f"replay of {summary['policy']}", result.policy_s)] if result.policy_s else []),
    ]
    lines = [
        f"Bag: {summary['bag']}, {summary['megabytes']:g} MB, {result.messages} messages, {result.recorded_s:.1f} s; "
        f"{summary['cpus']} CPUs, Python {summary['python']}",
        "",
        f"| medians of {len(result.stub_s)} turns | s | times real time |",
        "|---|---:|---:|",
    ]
    for name, seconds in rows:
        median = statistics.median(seconds)
        lines.append(f"| {name} | {median:.3f} | {result.recorded_s / median:.1f} |")
    lines += [
        "",
        f"Speed of the replay itself: {result.of_reader:.2f} of the bag reader's (samples), {result.of_feeding:.2f} of "
        f"reading alone; of the reader's at least {WANTED_OF_READER:g} is wanted, which "
        f"{_met(result.of_reader >= WANTED_OF_READER)}.",
    ]
    speed = result.times_real_time
    if speed is not None:
        lines.append(
            f"The policy: {speed:.1f} times real time; at least {WANTED_TIMES_REAL_TIME:g} is wanted of a small one, "
            f"which {_met(speed >= WANTED_TIMES_REAL_TIME)}."
        )
    lines.append(f"Memory from a quarter of the recording to its end: {result.memory_growth_mb:+.1f} MB.")
    return "\n".join(lines)


def _met(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
