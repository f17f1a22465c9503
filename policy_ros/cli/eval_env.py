# SPDX-License-Identifier: Apache-2.0
"""``policy-ros eval-env``: a policy in a gymnasium environment, scored, without ROS."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError
from policy_ros.ros.children import parameter_arguments

if TYPE_CHECKING:
    from policy_ros.evaluation import EpisodeResult, EvaluationOptions, EvaluationResult
    from policy_ros.parameters.node import NodeParameters

_PLAIN = "-"  # in the table: chunk after chunk, without an executor


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand."""
    parser = commands.add_parser(
        "eval-env",
        help="score a policy in a gymnasium environment",
        description="Seeded episodes in several environments at once: success rate with its 95 %% confidence interval. "
        "With --mode through the real executor and gate, with inferences that take a given time; docs/evaluation.md.",
    )
    parser.add_argument("env", metavar="ENV", help="policy_ros/Pick-v0, gym_pusht/PushT-v0, gym_aloha/…")
    parser.add_argument("--policy", required=True, metavar="DIR", help="checkpoint directory or hub id")
    parser.add_argument("--revision", metavar="HASH", help="commit of a hub checkpoint")
    parser.add_argument("--device", metavar="DEVICE", help="default: the GPU where there is one")
    parser.add_argument("--episodes", type=int, default=50, metavar="N", help="default 50")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first episode; default 0")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="environments at once; default 16")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; default 1")
    parser.add_argument("--mode", default="", metavar="A,B", help="of execution: sync, overlap, blend, ensemble, rtc")
    parser.add_argument("--delay-ms", default="0", metavar="MS,MS", help="of every inference; needs --mode")
    parser.add_argument(
        "--params-file", metavar="FILE", type=Path, action="append", default=[], help="the node's; may be repeated"
    )
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="one parameter of the node, e.g. execution.execution_horizon:=15; may be repeated",
    )
    parser.add_argument("--rate", type=float, default=0.0, metavar="HZ", help="control rate; default: the parameters'")
    parser.add_argument(
        "--time-limit", type=float, default=0.0, metavar="S", help="of an episode; default 20 s for Pick"
    )
    parser.add_argument("--image-size", metavar="HxW", help="that the cameras deliver; default: the policy's")
    parser.add_argument(
        "--image-noise", type=float, default=1.5, metavar="LEVELS", help="of the cameras, of 255; default 1.5"
    )
    parser.add_argument("--env-kwargs", default="", metavar="JSON", help="further arguments of the environment")
    parser.add_argument("--rows", action="store_true", help="print every episode")
    return parser


def execute(arguments: argparse.Namespace) -> int:
    """Evaluate every mode under every delay, and print."""
    from policy_ros.evaluation import check, evaluate
    from policy_ros.policies import load_policy

    cells = _cells(arguments)
    policy = load_policy(arguments.policy, revision=arguments.revision, device=arguments.device)
    policy.freeze()
    for cell in cells:
        check(policy, cell)  # before the long part
    results: list[EvaluationResult] = []
    for cell in cells:
        with _without_log():
            results.append(evaluate(policy, cell, progress=_counter(cell)))
        if not arguments.json:
            if len(results) == 1:
                print(_heading(arguments, results[0]))
            print(_line(results[-1]), flush=True)
            if arguments.rows:
                print("\n".join(_row(episode) for episode in results[-1].episodes), flush=True)
    if arguments.json:
        summary = {"env_id": arguments.env, "policy": arguments.policy, "seed": arguments.seed}
        print(json.dumps({**summary, "results": [result.as_json() for result in results]}))
    return 0


@contextmanager
def _without_log() -> Iterator[None]:
    """Holds of single episodes are in the rows."""
    logger = logging.getLogger("policy_ros")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _cells(arguments: argparse.Namespace) -> list[EvaluationOptions]:
    """One evaluation for each mode and delay."""
    from policy_ros.evaluation import EvaluationOptions
    from policy_ros.parameters.schema import json_object

    parameters = _parameters(arguments)
    return [
        EvaluationOptions(
            env_id=arguments.env,
            episodes=arguments.episodes,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            mode=mode,
            delay_ms=delay_ms,
            parameters=parameters,
            rate_hz=arguments.rate,
            time_limit_s=arguments.time_limit,
            image_size=_image_size(arguments.image_size),
            image_noise=arguments.image_noise,
            env_kwargs=json_object("--env-kwargs", arguments.env_kwargs),
        )
        for mode in _modes(arguments.mode)
        for delay_ms in _delays(arguments.delay_ms)
    ]


def _parameters(arguments: argparse.Namespace) -> NodeParameters | None:
    """The node's, as ``policy-ros run`` would have them; None where none are given."""
    from policy_ros.parameters.files import read_parameters

    with TemporaryDirectory() as folder:
        files = parameter_arguments(arguments.params_file, arguments.parameters, Path(folder))[1::2]
        return read_parameters(*files) if files else None


def _modes(text: str) -> list[str]:
    modes = text.split(",")
    if len(modes) > 1 and "" in modes:
        raise ConfigurationError(f"--mode: expected modes separated by commas, got '{text}'")
    return modes


def _delays(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--delay-ms: expected milliseconds separated by commas, got '{text}'") from None


def _image_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        height, width = (int(part) for part in text.split("x"))
    except ValueError:
        raise ConfigurationError(f"--image-size: expected HxW, e.g. 480x640, got '{text}'") from None
    return height, width


def _counter(options: EvaluationOptions) -> Callable[[EpisodeResult], None] | None:
    """A line on a terminal that counts; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None
    done = successes = 0

    def count(episode: EpisodeResult) -> None:
        nonlocal done, successes
        done, successes = done + 1, successes + episode.success
        what = f"{options.mode} {options.delay_ms:g} ms: " if options.mode else ""
        end = "\r\033[K" if done == options.episodes else ""
        print(f"\r{what}{done} of {options.episodes} episodes, {successes} successes{end}", end="", file=sys.stderr)

    return count


def _heading(arguments: argparse.Namespace, result: EvaluationResult) -> str:
    seeds = f"seeds {arguments.seed} to {arguments.seed + arguments.episodes - 1}"
    return (
        f"{result.env_id}, {arguments.policy}: {len(result.episodes)} episodes, {seeds}, {result.rate_hz:g} Hz, "
        f"at most {result.time_limit_s:g} s each\n"
        f"{'mode':<9} {'delay':>8} {'success':>8} {'95 % interval':>17} {'length':>8} {'steps':>7} {'wall':>8}"
    )


def _line(result: EvaluationResult) -> str:
    low, high = (100.0 * bound for bound in result.interval)
    return (
        f"{result.mode or _PLAIN:<9} {result.delay_ms:>5g} ms {100.0 * result.success_rate:>6.1f} % "
        f"{f'{low:.1f} to {high:.1f} %':>17} {result.mean_seconds:>6.2f} s {result.mean_steps:>7.1f} "
        f"{result.wall_s:>6.1f} s"
    )


def _row(episode: EpisodeResult) -> str:
    text = f"  seed {episode.seed:<6} {'success' if episode.success else 'failure'} {episode.steps:>5} steps"
    facts = episode.execution
    told = "" if facts is None else "; ".join(filter(None, (facts.hold, facts.degradation)))
    return f"{text} {episode.seconds:>6.2f} s {episode.inferences:>4} inferences {told}".rstrip()
