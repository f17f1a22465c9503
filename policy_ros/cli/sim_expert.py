# SPDX-License-Identifier: Apache-2.0
"""``policy-ros sim --expert``: demonstrations by the scripted expert, recorded on demand; docs/simulation.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.ros.children import Child, parameter_arguments
from policy_ros.ros.installation import share_directory, with_middleware_profile
from policy_ros.ros.process import run_process

if TYPE_CHECKING:
    from rclpy.node import Node

    from policy_ros.ros.simulated_robot.client import EpisodeClient, EpisodeResult

START_TIMEOUT_S = 60.0
_POLL_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What an expert needs to know."""
    group = parser.add_argument_group("demonstrations")
    group.add_argument(
        "--expert", action="store_true", help="a scripted expert solves the tasks (config/sim_expert.yaml)"
    )
    group.add_argument("--episodes", type=int, default=0, metavar="N", help="end after so many; default: with Ctrl-C")
    group.add_argument(
        "--time-factor",
        type=float,
        metavar="F",
        help="in simulated time, at most F times as fast as real time; slower where the machine cannot keep up",
    )
    group.add_argument("--record", metavar="DIR", type=Path, help="record the episodes into this bag")
    group.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="of the bag; default mcap")
    group.add_argument("--compression", choices=("none", "zstd"), default="none", help="of the bag; default none")
    group.add_argument(
        "--record-config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="parameter file of the policy node that says what is recorded; default: the shipped config/sim.yaml",
    )


def robot_values(arguments: argparse.Namespace) -> list[str]:
    """The robot's parameters from the command line, ``NAME:=VALUE``."""
    values = [f"seed:={arguments.seed}", *arguments.parameters]
    if arguments.env:
        values.append(f"env_id:={arguments.env}")
    if arguments.time_factor is not None:
        values += ["publish_clock:=true", f"time_factor:={float(arguments.time_factor)}"]
    return values


def publishes_clock(values: Sequence[str]) -> bool:
    """Whether the robot's own parameters make it the clock of everybody, by which a recording has to go too."""
    chosen = [value.partition(":=")[2] for value in values if value.partition(":=")[0] == "publish_clock"]
    return bool(chosen) and chosen[-1].strip().lower() == "true"


def execute(arguments: argparse.Namespace) -> int:
    """Demonstrate until it is over; 0 if everything went well, however many episodes failed."""
    if not arguments.expert:
        raise ConfigurationError(
            "--record and --episodes: expected --expert with them; record others' work with record"
        )
    if arguments.record and arguments.record.exists():
        raise ConfigurationError(f"--record: '{arguments.record}' exists; choose another directory or remove it")
    # Before the middleware of this process starts.
    os.environ.update(with_middleware_profile(os.environ))
    with TemporaryDirectory() as name:
        folder = Path(name)
        robot = parameter_arguments(
            [share_directory() / "config" / "sim_expert.yaml", *arguments.params_file],
            [*robot_values(arguments), f"episodes:={arguments.episodes}"],
            folder,
        )
        recorded = arguments.record_config or [share_directory() / "config" / "sim.yaml"]
        simulated = publishes_clock(robot_values(arguments))
        own = [*parameter_arguments(recorded, [], folder), "-p", f"use_sim_time:={str(simulated).lower()}"]
        return run_process(
            "policy-ros sim", ["--ros-args", *own], lambda stop: _demonstrate(arguments, robot, recorded, stop)
        )


def _demonstrate(
    arguments: argparse.Namespace, robot_arguments: list[str], recorded: Sequence[Path], stop: threading.Event
) -> int:
    robot = Child("simulated_robot", robot_arguments, environment=os.environ)
    start_s = time.monotonic()
    results: list[EpisodeResult] = []
    try:
        with _ending_with(robot, stop):
            recording = _run(arguments, recorded, stop, results)
    except PolicyRosError as error:
        print(f"policy-ros sim: {error}", file=sys.stderr)
        return 2
    finally:
        robot_status = robot.stop()
    summary = {
        "episodes": len(results),
        "successes": sum(result.success for result in results),
        "failed_seeds": [arguments.seed + result.index for result in results if not result.success],
        "duration_s": time.monotonic() - start_s,
        "recording": recording,
        "exit_status": robot_status or recording.get("exit_status", 0),
    }
    print(json.dumps(summary) if arguments.json else _readable(summary))
    return int(summary["exit_status"])


def _run(
    arguments: argparse.Namespace, recorded: Sequence[Path], stop: threading.Event, results: list[EpisodeResult]
) -> dict[str, Any]:
    """Until all episodes are over or it is stopped; the summary of the recording, empty without one."""
    from policy_ros.ros.simulated_robot.client import EpisodeClient

    def begin(node: Node, on_end: Callable[[EpisodeResult], None]) -> EpisodeClient:
        def keep(result: EpisodeResult) -> None:
            results.append(result)
            on_end(result)

        client = EpisodeClient(node, on_end=keep, on_problem=_tell)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not client.ready and not stop.wait(_POLL_S):
            if time.monotonic() > deadline_s:
                raise PolicyRosError(f"expected the simulated robot within {START_TIMEOUT_S:g} s, it did not appear")
        client.request()
        return client

    if arguments.record:
        return _record(arguments, recorded, stop, lambda node: begin(node, lambda result: None))
    with _spinning_node() as node:
        begin(node, lambda result: _tell(_line(result)))
        while not stop.wait(_POLL_S) and not 0 < arguments.episodes <= len(results):
            pass
    return {}


def _record(
    arguments: argparse.Namespace, files: Sequence[Path], stop: threading.Event, begin: Callable[[Node], object]
) -> dict[str, Any]:
    from policy_ros.parameters.files import read_parameters
    from policy_ros.ros.recorder.options import Mode, RecordOptions
    from policy_ros.ros.recorder.session import Session

    options = RecordOptions(
        out=arguments.record,
        mode=Mode.FOLLOW,
        storage=arguments.storage,
        compression=arguments.compression,
        episodes=arguments.episodes,
        timeout_s=START_TIMEOUT_S,
    )
    parameters = read_parameters(*map(os.fspath, files), node="/policy")
    return Session(parameters, options, stop, quiet=arguments.json, on_ready=begin).run()


@contextmanager
def _ending_with(robot: Child, stop: threading.Event) -> Iterator[None]:
    """``stop`` is set as soon as the robot's process ends."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if not robot.running:
                stop.set()
                return

    thread = threading.Thread(target=watch, name="robot's end", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _spinning_node() -> Iterator[Node]:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    node = rclpy.create_node("policy_ros_sim")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="ros", daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=1.0)
        thread.join(1.0)
        node.destroy_node()


def _line(result: EpisodeResult) -> str:
    return f"episode {result.index}: {'success' if result.success else 'FAILURE'} after {result.seconds:.1f} s"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _readable(summary: dict[str, Any]) -> str:
    lines = []
    if summary["recording"]:
        from policy_ros.ros.recorder.report import readable

        lines.append(readable(summary["recording"]))
    failed = summary["failed_seeds"]
    lines.append(
        f"{summary['successes']} of {summary['episodes']} episodes solved in {summary['duration_s']:.0f} s"
        + (f"; not: seeds {', '.join(map(str, failed))}" if failed else "")
    )
    return "\n".join(lines)
