# SPDX-License-Identifier: Apache-2.0
"""The simulated robot and the policy node as two processes over real DDS, watched for a while, then summarised.

Writes ``demo/summary.json`` and the nodes' logs beside it. Leaves no process and no shared-memory segment behind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policy_ros.cli.children import Child, parameter_arguments
from policy_ros.cli.run import readable
from policy_ros.errors import PolicyRosError
from policy_ros.ros.installation import share_directory, with_middleware_profile
from policy_ros.ros.monitor import FrameCounts, Monitor, status_line, summarise
from policy_ros.ros.process import stop_on_signals
from policy_ros.ros.shared_memory import all_segments, mapped_segments, segments_of

START_TIMEOUT_S = 60.0
POLL_S = 0.05
LINE_EVERY_S = 1.0


class DemoError(PolicyRosError):
    """The demonstration did not come about."""


def main() -> int:
    arguments = parse_arguments()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    # A domain of its own on this machine only: no robot nearby may hear this.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(with_middleware_profile(os.environ))
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        summary = demonstrate(arguments.duration, arguments.parameters, folder, stop)
    except PolicyRosError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(readable(summary))
    print(f"\nwritten to {folder / 'summary.json'}; logs in {folder}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Demonstration on the simulated robot.")
    parser.add_argument("--duration", type=float, default=30.0, help="seconds to watch")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of summary and logs")
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        help="a parameter of the policy node; may be repeated",
    )
    return parser.parse_args()


def demonstrate(duration_s: float, parameters: list[str], folder: Path, stop: threading.Event) -> dict[str, Any]:
    """Bring both processes up, watch, bring them down; the summary."""
    before = all_segments()
    config = share_directory() / "config"
    policy_arguments = parameter_arguments(
        [config / "sim.yaml", config / "sim_untrained.yaml"], ["autostart:=true", *parameters], folder
    )
    with child("simulated_robot", ["--params-file", str(config / "sim_robot.yaml")], folder) as robot:
        with monitor() as seen, child("policy_node", policy_arguments, folder) as node:
            wait_until_running(seen, (robot, node), folder, stop)
            first = seen.frame_counts()
            watch(seen, (robot, node), duration_s, folder, stop)
            traces = Traces(before, os.getpid(), robot.pid, node.pid)
            summary: dict[str, Any] = {
                "policy": seen.status.policy,
                "trained": False,
                "note": "ACT with fixed, seeded, untrained weights: the arm moves without purpose",
                "duration_s": duration_s,
                "cameras": frames(first, seen.frame_counts()),
                **{key: value for key, value in summarise(seen.status).items() if key not in ("policy", "received")},
                "peak_memory_mb": {"policy_node": node.peak_memory_mb, "simulated_robot": robot.peak_memory_mb},
            }
            start = time.monotonic()
            summary["exit_status"] = {"policy_node": node.stop()}
            summary["stop_s"] = time.monotonic() - start
        summary["exit_status"]["simulated_robot"] = robot.stop()
    summary["left_behind"] = traces.left()
    return summary


class Traces:
    """What processes have in the system, so that it can be told afterwards whether it is gone.

    Args:
        before: files of shared memory from before the demonstration: others may have been killed and left some.
        own: this process, whose middleware ends with the demonstration; it lives on.
        children: the nodes.
    """

    def __init__(self, before: set[Path], own: int, *children: int) -> None:
        self._children = children
        self._segments = {segment for pid in (own, *children) for segment in segments_of(pid)} - before

    def left(self) -> dict[str, list[str]]:
        """Processes and shared-memory segments that still exist."""
        return {
            "processes": [str(pid) for pid in self._children if Path(f"/proc/{pid}").exists()],
            # What other processes of this machine have mapped is not ours to remove.
            "shared_memory_segments": sorted(path.name for path in self._segments - mapped_segments() if path.exists()),
        }


@contextmanager
def child(name: str, arguments: list[str], folder: Path) -> Iterator[Child]:
    """One node; its output goes to ``<name>.log``."""
    with open(folder / f"{name}.log", "w") as log:
        process = Child(name, arguments, environment=os.environ, output=log)
        try:
            yield process
        finally:
            process.stop()


@contextmanager
def monitor() -> Iterator[Monitor]:
    seen = Monitor()
    try:
        yield seen
    finally:
        seen.close()


def wait_until_running(seen: Monitor, children: tuple[Child, ...], folder: Path, stop: threading.Event) -> None:
    """Until the first command."""
    print("starting the simulated robot and the policy node …", flush=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while seen.first_running_s is None or seen.frame_counts() is None:
        check(children, folder, stop)
        if time.monotonic() > deadline:
            raise DemoError(f"expected commands within {START_TIMEOUT_S:g} s, got none; see {folder}/policy_node.log")
        time.sleep(POLL_S)


def watch(seen: Monitor, children: tuple[Child, ...], duration_s: float, folder: Path, stop: threading.Event) -> None:
    """Print a live line until the time is over."""
    start = time.monotonic()
    while (elapsed_s := time.monotonic() - start) < duration_s:
        check(children, folder, stop)
        print(f"{elapsed_s:5.1f} s  {status_line(seen.status)}", flush=True)
        stop.wait(LINE_EVERY_S)


def check(children: tuple[Child, ...], folder: Path, stop: threading.Event) -> None:
    if stop.is_set():
        raise DemoError("interrupted")
    for process in children:
        if not process.running:
            raise DemoError(f"{process.name} ended with status {process.exit_status}; see {folder}/{process.name}.log")


def frames(first: FrameCounts, last: FrameCounts) -> dict[str, dict[str, float]]:
    """Frames of each camera between two counts."""
    result = {}
    for name in first.published:
        published = last.published[name] - first.published[name]
        received = round(last.received[name] - first.received[name])
        result[name] = {"published": published, "received": received, "ratio": received / max(1, published)}
    return result


if __name__ == "__main__":
    raise SystemExit(main())
