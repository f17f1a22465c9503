# SPDX-License-Identifier: Apache-2.0
"""``policy-ros replay``: what a policy would have done on recordings, measured; without ROS unless asked for."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from policy_ros.cli import replay_compare, replay_reproduce
from policy_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from policy_ros.interruption import Interruption
    from policy_ros.parameters.node import NodeParameters
    from policy_ros.replay.jobs import ReplayJob
    from policy_ros.replay.metrics import Summary, Value
    from policy_ros.replay.result import BagResult
    from policy_ros.replay.run import Replayed, ReplayRequest

COMPARE, REPRODUCE = "replay compare", "replay reproduce"
TWO_WORDS = (COMPARE, REPRODUCE)
SUCCESS, INCOMPLETE, CONDITION_HELD, INTERRUPTED = 0, 1, 3, 128  # 2 is a usage error; and the number of the signal
_MAX_PROBLEMS = 10  # shown of a bag
_SHOWN = (
    "mae",
    "rmse",
    "mae@1",
    "mae@10",
    "mae@H",
    "executed_mae",
    "lag",
    "picture_shift",
    "seam_jump.p99",
    "seam_jump.max",
    "acceleration.peak",
    "jerk.peak",
    "gate.clamped_share",
    "holds",
    "hold_share",
    "deadline_misses",
    "delay.mean",
    "latency.p99",
    "observation_age.p99",
    "skew.p99",
    "coverage",
)


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand, and those of two words, which are some of their own to the parser."""
    compare = commands.add_parser(COMPARE, description=replay_compare.DESCRIPTION, epilog=replay_compare.EPILOG)
    replay_compare.add_arguments(compare)
    compare.set_defaults(execute=replay_compare.execute)
    reproduce = commands.add_parser(REPRODUCE, description=replay_reproduce.DESCRIPTION)
    replay_reproduce.add_arguments(reproduce)
    reproduce.set_defaults(execute=replay_reproduce.execute)
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        help="what a policy would have done on recorded bags; `replay compare A B`, `replay reproduce BAG`",
        description="Feeds recorded bags to a policy through the node's own assembler, executor and gate, and measures "
        "what it would have done: metrics.json, run.json, report.html and replay.mcap; docs/replay.md. "
        "`policy-ros replay compare A B` compares two of them; `policy-ros replay reproduce BAG` asks whether a policy "
        "answers as it did on the robot.",
        epilog="Exit status: 0; 1 something could not be evaluated or written; 2 usage; 3 a --fail-if condition holds; "
        "128 and the signal's number when interrupted.",
    )
    _add_what(parser)
    _add_how(parser)
    _add_where(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", metavar="BAG", nargs="+", help="rosbag2 directory or file")
    parser.add_argument("--policy", required=True, metavar="DIR", help="checkpoint directory or hub id")
    parser.add_argument("--revision", metavar="HASH", help="commit of a hub checkpoint")
    parser.add_argument("--device", metavar="DEVICE", help="default: the GPU where there is one")
    parser.add_argument(
        "--params-file",
        "--config",
        dest="params_file",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="the node's parameters; may be repeated",
    )
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="one parameter of the node, e.g. gate.max_velocity:=[1.0]; may be repeated",
    )
    parser.add_argument("--namespace", default="/", metavar="NS", help="of the node, for relative topics; default /")
    parser.add_argument(
        "--action-topic", metavar="TOPIC", help="JointState of a leader arm, in place of recorded commands"
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", metavar="MODE", help="of execution; default: the parameters' execution.mode")
    parser.add_argument(
        "--delay",
        metavar="DELAY",
        help="of every inference: 120ms, 'measured' here, or drawn from a run.json or a bag with the node's status; "
        "default 0ms; --through-ros measures it",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random; default 0")
    parser.add_argument(
        "--reset-after", type=float, metavar="S", help="reset a hold that needs it after so long; default: never"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="bags at a time; default 1, with ray all that fit")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of torch for each bag; default: the parameters' policy.torch_threads"
    )
    parser.add_argument("--backend", choices=("processes", "ray"), default="processes", help="default processes")
    parser.add_argument(
        "--through-ros", action="store_true", help="play the bags to a real node, in real time, and measure that"
    )
    parser.add_argument("--rate", type=float, default=1.0, metavar="X", help="of --through-ros; default 1, real time")


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--overwrite", action="store_true", help="remove the results of an earlier replay in --out")
    parser.add_argument("--no-report", action="store_true", help="no report.html")
    parser.add_argument(
        "--mcap",
        choices=("all", "predictions", "none"),
        default="all",
        help="what replay.mcap has: predictions beside everything recorded, alone, or no such file; default all",
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="exit status 0 although something could not be evaluated"
    )
    parser.add_argument(
        "--fail-if",
        metavar="EXPR",
        action="append",
        default=[],
        help="exit status 3 if so, e.g. 'mae > 0.05', 'coverage < 0.9', 'mae.low > 0.04'; may be repeated",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Replay, write, print; the exit status."""
    from policy_ros.interruption import Interruption
    from policy_ros.replay.metrics import failures, metric_names, parse_condition
    from policy_ros.replay.run import replay

    conditions = [parse_condition(text) for text in arguments.fail_if]
    request = _request(arguments)
    for condition in conditions:
        condition.require_known(metric_names(request.options.parameters.joints.names))
    interruption = Interruption()
    interruption.begin()
    try:
        with _bar(len(request.bags)) as progress:
            done = replay(
                request,
                stopping=lambda: interruption.signal is not None,
                progress=progress,
                **(_through_ros(arguments, interruption) if arguments.through_ros else {}),
            )
    finally:
        interruption.end()
    summary = done.result.summary
    failed = [] if summary is None else failures(conditions, summary.values())
    if arguments.json:
        print(json.dumps({**done.result.as_json(), "run": _without_samples(done), "failed": failed}, allow_nan=False))
    else:
        print(_readable(request, done))
    for line in (*done.unwritten, *(f"failed: {line}" for line in failed)):
        print(f"policy-ros replay: {line}", file=sys.stderr)
    if interruption.signal is not None:
        return INTERRUPTED + interruption.signal.value
    return _status(done, arguments.allow_partial, bool(failed))


def _status(done: Replayed, allow_partial: bool, failed: bool) -> int:
    """What could not be evaluated counts first: without it nobody knows what the conditions would say."""
    incomplete = done.result.status == "failed" or (done.result.status != "complete" and not allow_partial)
    if incomplete or done.unwritten:
        return INCOMPLETE
    return CONDITION_HELD if failed else SUCCESS


def _request(arguments: argparse.Namespace) -> ReplayRequest:
    from policy_ros.replay.delays import parse_delay
    from policy_ros.replay.jobs import PolicySource
    from policy_ros.replay.options import ReplayOptions
    from policy_ros.replay.run import ReplayRequest

    if arguments.through_ros and arguments.delay not in (None, "measured"):
        raise ConfigurationError(
            f"--delay: expected none beside --through-ros, where inferences last as long as they do, got "
            f"{arguments.delay}; -p execution.added_delay_s:=0.12 makes them longer"
        )
    if arguments.through_ros and (arguments.workers or arguments.backend != "processes"):
        raise ConfigurationError(
            "--through-ros: expected one bag after the other, got --workers or --backend beside it"
        )
    return ReplayRequest(
        bags=tuple(arguments.bags),
        policy=PolicySource(arguments.policy, arguments.revision, arguments.device),
        options=ReplayOptions(
            _parameters(arguments),
            delay=parse_delay(arguments.delay or ("measured" if arguments.through_ros else "0ms")),
            seed=arguments.seed,
            namespace=arguments.namespace,
            action_topic=arguments.action_topic,
            reset_after_s=arguments.reset_after,
        ),
        out=arguments.out,
        overwrite=arguments.overwrite,
        messages=arguments.mcap,
        report=not arguments.no_report,
        workers=arguments.workers,
        backend=arguments.backend,
        threads=arguments.threads,
    )


def _parameters(arguments: argparse.Namespace) -> NodeParameters:
    """The node's, as ``policy-ros run`` would have them."""
    from policy_ros.parameters.files import NODE, read_parameters
    from policy_ros.ros.children import parameter_arguments

    mode = [] if arguments.mode is None else [f"execution.mode:={arguments.mode}"]
    node = arguments.namespace.rstrip("/") + NODE
    with TemporaryDirectory() as folder:
        given = parameter_arguments(arguments.params_file, [*arguments.parameters, *mode], Path(folder))
        return read_parameters(*given[1::2], node=node)


@contextmanager
def _bar(bags: int) -> Iterator[Callable[[float, int], None]]:
    """A bar on a terminal, gone at the end; nothing elsewhere."""
    from tqdm import tqdm

    text = "{desc} {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=1.0, desc="replay", bar_format=text, leave=False, disable=None) as bar:

        def show(share: float, done: int) -> None:
            if bags > 1:
                bar.set_description_str(f"replay, {done} of {bags} bags", refresh=False)
            bar.update(share - bar.n)

        yield show


def _through_ros(arguments: argparse.Namespace, interruption: Interruption) -> dict[str, Any]:
    """Arguments of ``replay()`` for the way through a real node."""
    from policy_ros.cli.replay_through_ros import NodeReplay

    def open_replay(job: ReplayJob) -> NodeReplay:
        return NodeReplay(job, arguments.rate, interruption)

    return {"open_replay": open_replay, "in_this_process": True}


def _without_samples(done: Replayed) -> dict[str, Any]:
    from policy_ros.replay.delays import LATENCIES_KEY

    return {name: value for name, value in done.run.items() if name != LATENCIES_KEY}


def _readable(request: ReplayRequest, done: Replayed) -> str:
    """What came of it, for a terminal."""
    result, run = done.result, done.run
    policy, options = result.policy, result.options
    speed = "" if run["times_real_time"] is None else f" ({run['times_real_time']:g} times real time)"
    lines = [
        f"{policy['type']} of {policy['path']}, {options['mode']}, delay {options['delay']}, seed {options['seed']}",
        f"{_count(result.episodes, 'episode')} of {_count(result.bags, 'bag')}, {run['recorded_s']:.1f} s recorded, "
        f"replayed in {run['wall_s']:.1f} s{speed}",
    ]
    if result.summary is not None:
        lines += ["", *_metrics(result.summary.values()), *_remarks(result.summary)]
    lines += ["", *(line for bag in result.bags for line in _bag(bag))]
    return "\n".join([*lines, "", f"in {request.out}: {', '.join(_files(request.out))}"])


def _metrics(values: Mapping[str, Value]) -> list[str]:
    rows = [("metric", "value", "95 % interval", "unit")]
    for name in _SHOWN:
        each = values.get(name)
        if each is not None and each.value is not None:
            interval = "" if each.low is None else f"{each.low:.4g} to {each.high:.4g}"
            rows.append((name, f"{each.value:.4g}", interval, each.unit))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {interval:>{widths[2]}}  {unit}".rstrip()
        for name, value, interval, unit in rows
    ]


def _remarks(summary: Summary) -> Iterator[str]:
    for what, counts in (("degraded", summary.degradations), ("not ready", summary.not_ready)):
        for reason, count in counts.items():
            yield f"{what}, {count} times: {reason}"
    for things, orders in (("joints", summary.suspected_joint_order), ("cameras", summary.suspected_camera_order)):
        for order in orders:
            yield (
                f"are {things} exchanged? {', '.join(order.predicted)} fit {', '.join(order.fits)}, which would take "
                f"{order.gain:.0%} of the difference away"
            )


def _bag(bag: BagResult) -> Iterator[str]:
    yield f"{bag.status:<8} {bag.path}: {_count(bag.episodes, 'episode')}, {bag.length_s:.1f} s"
    if bag.error:
        yield f"  {bag.error}"
    for problem in bag.problems[:_MAX_PROBLEMS]:
        yield f"  {problem}"
    if len(bag.problems) > _MAX_PROBLEMS:
        yield f"  and {len(bag.problems) - _MAX_PROBLEMS} more, in metrics.json"


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _files(out: Path) -> list[str]:
    return sorted(file.name for file in out.iterdir())
