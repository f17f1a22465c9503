# SPDX-License-Identifier: Apache-2.0
"""``make soak``: arguments, the parts put together, the report."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from pathlib import Path

from policy_ros.ros.installation import with_middleware_profile
from policy_ros.ros.monitor import STATES
from policy_ros.ros.process import stop_on_signals
from soaking import configuration
from soaking.checkpoints import write_checkpoints
from soaking.checks import FreshInputs, Limits, PlausibleStatus, SilentAfterFault, SilentUnlessActive, WithinPlan
from soaking.configuration import SLACK_S, Configuration
from soaking.domain import own_domain
from soaking.driver import Driver
from soaking.growth import usage
from soaking.observer import Observer
from soaking.processes import Processes
from soaking.referee import Referee
from soaking.report import Result, Series, growth_problems, introduction, markdown
from soaking.schedule import Schedule

POLICIES = ("unreliable_flow", "unreliable_act")
SAMPLE_S = 2.0
LINE_S = 10.0
MEASURED_S = 1.0  # joint states are refused at 0.4 s; the rest is for a tick that was interrupted


def main() -> int:
    """Exit status 0: every promise was kept."""
    arguments = parse_arguments()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        log.unlink()
    stop = threading.Event()
    stop_on_signals(stop)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(with_middleware_profile(os.environ))
    with own_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        result = Soak(folder, arguments.seed, arguments.minutes * 60.0, stop).run()
    text = markdown(result)
    print(f"\n{text}\nlogs in {folder}", flush=True)
    if arguments.out:
        arguments.out.write_text(introduction() + text)
        print(f"written to {arguments.out}")
    if stop.is_set():
        print("interrupted", file=sys.stderr)
        return 1
    return 0 if result.passed else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The simulated robot and the policy node, with faults at random.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the schedule and of the robot")
    parser.add_argument("--out", type=Path, help="Markdown file for the summary")
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="for the logs")
    return parser.parse_args()


class Soak:
    """One run.

    Args:
        folder: for logs.
        seed: of the schedule and of the robot.
        duration_s: of the run.
        stop: ends it early.
    """

    def __init__(self, folder: Path, seed: int, duration_s: float, stop: threading.Event) -> None:
        self._folder = folder
        self._seed = seed
        self._duration_s = duration_s
        self._stop = stop
        self._configuration = configuration.load()
        bounds_s = {stream: bound_s + SLACK_S for stream, bound_s in self._configuration.bounds_s.items()}
        self._limits = Limits(self._configuration.outputs(), MEASURED_S)
        self._silence = SilentAfterFault(SLACK_S)
        self._status = PlausibleStatus()
        plan = WithinPlan(self._configuration.hold_commands)
        checks = (self._limits, FreshInputs(bounds_s), plan, SilentUnlessActive(), self._silence, self._status)
        self._referee = Referee(checks)
        self._series: dict[int, Series] = {}
        self._next_sample_s = self._next_line_s = 0.0
        self._told = 0  # violations
        self._start_s = time.monotonic()

    def run(self) -> Result:
        """Everything from the first process to the last."""
        write_checkpoints(POLICIES, self._configuration, self._folder)
        processes = Processes(self._folder, self._configuration, POLICIES[0], self._seed)
        observer = None
        left: list[str] = []
        try:
            observer = Observer(self._configuration.parameters, self._referee)
            self._drive(processes, observer)
            processes.note_segments()
            if processes.stop_node() != 0:
                self._referee.report(
                    time.time(), "processes", f"the node ended with status {processes.node.exit_status}"
                )
            if processes.stop_robot(kill=False) != 0:
                status = processes.robot.exit_status
                self._referee.report(time.time(), "processes", f"the robot ended with status {status}")
        finally:
            if observer is not None:
                observer.close()
            left = processes.close()
        self._referee.finish()
        return self._result(left)

    def _drive(self, processes: Processes, observer: Observer) -> None:
        self._driver = Driver(
            processes,
            observer,
            self._referee,
            self._configuration,
            self._stop,
            lambda: self._idle(processes, observer),
        )
        self._driver.run(schedule(self._seed, self._configuration), self._duration_s)

    def _idle(self, processes: Processes, observer: Observer) -> None:
        now_s = time.monotonic()
        if self._driver.calm and now_s >= self._next_sample_s:
            self._next_sample_s = now_s + SAMPLE_S
            for name, child in (("node", processes.node), ("robot", processes.robot)):
                sample = usage(child.pid, now_s)
                if sample is not None:
                    self._series.setdefault(child.pid, Series(name, child.pid)).samples.append(sample)
        for violation in self._referee.violations[self._told :]:
            self._told += 1
            print(f"VIOLATION  {violation.check}: {violation.text}  (while: {violation.context})", flush=True)
        if now_s >= self._next_line_s:
            self._next_line_s = now_s + LINE_S
            print(self._line(now_s, processes, observer), flush=True)

    def _line(self, now_s: float, processes: Processes, observer: Observer) -> str:
        state = "no status" if observer.status is None else STATES[observer.status.state]
        mode = "" if observer.status is None else f" {observer.status.policy} {observer.status.mode}"
        node = usage(processes.node.pid, now_s)
        taken = (
            "not running" if node is None else f"{node.memory_mb:.0f} MB, {node.threads} threads, {node.files} files"
        )
        return (
            f"{(now_s - self._start_s) / 60:6.1f} min  {state}{mode}  actions {sum(self._driver.done.values())}  "
            f"commands {self._limits.checked}  holds {sum(self._status.holds.values())}  node {taken}  "
            f"violations {self._referee.count}"
        )

    def _result(self, left: list[str]) -> Result:
        duration_s = time.monotonic() - self._start_s
        series = list(self._series.values())
        for problem in growth_problems(series):
            self._referee.report(time.time(), "growth", problem)
        for line in left:
            self._referee.report(time.time(), "nothing left behind", line)
        return Result(
            seed=self._seed,
            duration_s=duration_s,
            asked_s=self._duration_s,
            done=self._driver.done,
            totals=self._status.totals,
            holds=self._status.holds,
            resets=self._driver.resets,
            swaps=self._driver.swaps,
            activations=self._driver.activations,
            commands=self._limits.checked,
            lost=self._limits.lost,
            lasting=self._silence.lasting,
            worst_s=self._silence.worst_s,
            bound_s=self._silence.bound_s,
            slack_s=SLACK_S,
            series=series,
            violations=self._referee.violations,
            violation_count=self._referee.count,
            out_of_order=self._referee.out_of_order,
            left=left,
        )


def schedule(seed: int, configured: Configuration) -> Schedule:
    """The steps that this seed draws for this configuration."""
    parameters = configured.parameters
    return Schedule(
        seed,
        cameras=tuple(parameters.cameras),
        policies=POLICIES,
        camera_max_age_s=min(camera.max_age_s for camera in parameters.cameras.values()),
        tail_s=parameters.observation.tail_s,
        joint_max_age_s=parameters.joints.max_age_s,
    )
