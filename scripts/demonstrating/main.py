# SPDX-License-Identifier: Apache-2.0
"""Episode after episode, then the summary.

Writes ``summary.json``, the bag, a picture of an episode and the logs into a folder. Leaves no process and no
shared-memory segment behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from soaking.domain import own_domain

from demonstrating.film import Film
from demonstrating.operator import Operator
from demonstrating.options import Options, parse
from demonstrating.processes import Processes, Traces
from demonstrating.strip import save_strip
from demonstrating.tally import Tally
from policy_ros.cli.run import readable
from policy_ros.errors import PolicyRosError
from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.monitor import FrameCounts, Monitor, status_line
from policy_ros.ros.process import stop_on_signals
from policy_ros.ros.shared_memory import all_segments
from policy_ros.ros.simulated_robot.client import EpisodeResult

PICTURE = "pick_episode.png"
_LINE_EVERY_S = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """0 after a demonstration, however many tasks were done; 1 after one line that says what is wrong."""
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        options = parse(argv)
        options.out.mkdir(parents=True, exist_ok=True)
        with own_domain() as domain:
            # A domain of its own on this machine only: no robot nearby may hear this.
            os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
            os.environ.update(with_middleware_profile(os.environ))
            summary = demonstrate(options, stop)
    except PolicyRosError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{readable(summary)}\n")
    success = summary["success"]
    failed = f"; not: seeds {', '.join(map(str, success['failed_seeds']))}" if success["failed_seeds"] else ""
    print(f"{success['successes']} of {success['episodes']} episodes solved ({success['rate']:.0%}){failed}")
    print(f"written to {options.out}: summary.json, logs" + "".join(f", {name}" for name in summary["files"]))
    return 0


def demonstrate(options: Options, stop: threading.Event) -> dict[str, Any]:
    """Bring everything up, do the episodes, bring everything down; the summary."""
    before, begin_s = all_segments(), time.monotonic()
    with Processes(options, stop) as processes:
        with watching(processes) as (seen, operator):
            print(f"{options.policy}: starting robot, node and recorder …", flush=True)
            operator.wait_until_ready()
            operator.transition("configure")
            operator.wait_for(lambda: processes.recording, "the recorder")
            traces = Traces(before, os.getpid(), processes.pids)
            run = Run(options, seen, operator)
            for index in range(options.episodes):
                run.episode(index)
            recording = processes.finish_recording()
        memory = {child.name: child.peak_memory_mb for child in (processes.node, processes.robot)}
        end_s = time.monotonic()
        status = {"policy_node": processes.node.stop()}
        stop_s = time.monotonic() - end_s
        status["simulated_robot"] = processes.robot.stop()
    files = run.save_picture() + (["bag"] if recording else [])
    return {
        "policy": run.policy,
        "checkpoint": str(options.policy),
        "added_delay_ms": options.delay_s * 1e3,
        "time_factor": options.time_factor,
        "success": run.tally.success(options.seed),
        "cameras": run.tally.cameras(),
        **run.tally.execution(),
        "duration_s": end_s - begin_s,
        "peak_memory_mb": memory,
        "exit_status": status,
        "stop_s": stop_s,
        **({"recording": recording} if recording else {}),
        "files": files,
        "left_behind": traces.left(),
    }


class Run:
    """The episodes, and what is kept of them."""

    def __init__(self, options: Options, seen: Monitor, operator: Operator) -> None:
        self.tally = Tally()
        self.policy = ""
        self._options = options
        self._seen = seen
        self._operator = operator
        self._film: tuple[EpisodeResult, Film] | None = None  # of the first success, else of the first episode

    def episode(self, index: int) -> None:
        """One task from its draw to its result."""
        seen, operator = self._seen, self._operator
        seen.forget()
        operator.begin(index)
        first: list[FrameCounts] = []
        next_line_s = time.monotonic()

        def watch() -> None:
            nonlocal next_line_s
            if not first and (counts := seen.frame_counts()) is not None:
                first.append(counts)
            if seen.status is not None:
                self.tally.note(seen.status)
            if time.monotonic() >= next_line_s and seen.status is not None:
                print(f"  {status_line(seen.status)}", flush=True)
                next_line_s = time.monotonic() + _LINE_EVERY_S

        result = operator.finish(index, self._options.timeout_s / (self._options.time_factor or 1.0), watch)
        operator.wait_for(lambda: seen.status is not None, "a status of the node")
        assert seen.status is not None
        self.policy = seen.status.policy
        self.tally.add(result, seen.status, first[0] if first else None, seen.frame_counts())
        operator.transition("deactivate")
        if self._film is None or (result.success and not self._film[0].success):
            self._film = result, operator.film
        verdict = f"solved after {result.seconds:.1f} s" if result.success else "FAILED"
        print(f"episode {index} (seed {self._options.seed + index}): {verdict}", flush=True)

    def save_picture(self) -> list[str]:
        """Write the strip; the file's name, or nothing if the episode was too short for it."""
        assert self._film is not None
        try:
            save_strip(self._options.out / PICTURE, self._film[1])
        except PolicyRosError as error:
            print(f"demo: {error}", file=sys.stderr)
            return []
        return [PICTURE]


@contextmanager
def watching(processes: Processes) -> Iterator[tuple[Monitor, Operator]]:
    """Who listens to the node, and who drives it."""
    seen = Monitor()
    try:
        operator = Operator(processes.check)
        try:
            yield seen, operator
        finally:
            operator.close()
    finally:
        seen.close()
