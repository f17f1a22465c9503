# SPDX-License-Identifier: Apache-2.0
"""Arguments, the processes, the swaps one after the other, the report."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from soaking.domain import own_domain
from soaking.growth import usage

from policy_ros.msg import PolicyStatus
from policy_ros.parameters.files import read_parameters
from policy_ros.parameters.node import NodeParameters
from policy_ros.ros.children import Child
from policy_ros.ros.installation import share_directory, with_middleware_profile
from swapping.broken import make_broken
from swapping.fresh import write_diffusion
from swapping.judging import Periods, Steps, judge_steps
from swapping.report import markdown
from swapping.witness import Unexpected, Witness, stamp_s

START_S = 90.0
SWAP_S = 60.0
SETTLE_S = 1.0  # after a swap, before memory is read: the old policy is freed by a thread that stands back
PAUSE_S = (0.3, 2.0)  # between two swaps, at random
GROWTH = 1.05  # of resident memory after a swap back: what an inference takes for itself comes and goes


@dataclass
class Swap:
    """One of them: what was asked for, how long it took, and what the node had afterwards."""

    wanted: str
    answer_s: float
    begin_s: float
    end_s: float = 0.0
    memory_mb: float = 0.0
    refusal: str = ""


@dataclass
class Result:
    """All that was measured."""

    options: argparse.Namespace
    swaps: list[Swap] = field(default_factory=list)
    broken: list[Swap] = field(default_factory=list)
    swapping: Periods | None = None
    failing: Periods | None = None
    between: Periods | None = None
    steps: dict[str, Steps] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    first_mb: float = 0.0
    holds: int = 0
    missed: int = 0


def main() -> int:
    """Exit status 0: everything was swapped, and nothing paused or broke a limit."""
    options = parse_arguments()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(with_middleware_profile(os.environ))
    with ExitStack() as stack:
        domain = stack.enter_context(own_domain())
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swapping-")))
        result = Session(options, folder, stack).run()
    text = markdown(result)
    print(text, flush=True)
    if options.out:
        options.out.write_text(text)
    return 1 if result.problems else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Swap policies on the running simulated robot, and measure.")
    first = share_directory() / "checkpoints" / "pick_act"
    parser.add_argument("--first", type=Path, default=first, help="checkpoint that runs first; default: pick_act")
    parser.add_argument(
        "--second", type=Path, help="checkpoint to swap it with; default: a diffusion policy that has learnt nothing"
    )
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--broken", type=int, default=20, help="swaps that must fail")
    parser.add_argument("--mode", default="blend", help="execution.mode that both can do")
    parser.add_argument("--realtime-priority", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the report")
    parser.add_argument("--log", type=Path, help="where the node's log goes; default: nowhere")
    return parser.parse_args()


class Session:
    """Robot, node and witness, from start to end.

    Args:
        options: of the command line.
        folder: for files.
        stack: closes what is opened here.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._random = random.Random(options.seed)
        self._options = options
        outside, inside = folder / "outside", folder / "inside"
        outside.mkdir()
        inside.mkdir()
        second = options.second or write_diffusion(options.first, inside / "diffusion")
        self._policies = [path.resolve() for path in (options.first, second)]
        self._broken = make_broken(self._policies[0], inside, outside)
        config = share_directory() / "config"
        file = folder / "node.yaml"
        roots = sorted({str(path.parent) for path in self._policies} | {str(inside)})
        values = {
            "policy.path": str(self._policies[0]),
            "policy.roots": roots,
            "execution.mode": options.mode,
            "execution.realtime_priority": options.realtime_priority,
            "status_rate_hz": 50.0,
            "autostart": True,
        }
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
        files = [config / "sim.yaml", file]
        self._parameters: NodeParameters = read_parameters(*files)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        log = open(options.log or os.devnull, "w")  # noqa: SIM115 - closed by the stack
        stack.callback(log.close)
        robot = Child(
            "simulated_robot", ["--params-file", str(config / "sim_robot.yaml")], environment=environment, output=log
        )
        stack.callback(robot.stop)
        arguments = list(itertools.chain.from_iterable(("--params-file", str(path)) for path in files))
        self._node = Child("policy_node", arguments, environment=environment, output=log)
        stack.callback(self._node.stop)
        self._witness = Witness(self._parameters)
        stack.callback(self._witness.close)
        self._result = Result(options)

    def run(self) -> Result:
        """Everything, one after the other."""
        result, witness = self._result, self._witness
        try:
            witness.wait_for(
                lambda: witness.statuses and witness.status.state == PolicyStatus.RUNNING, START_S, "commands"
            )
            for target in (1, 0):  # the first of each kind loads code that stays
                self._swap(self._policies[target])
            result.first_mb = self._settled_memory()
            began_s, holds, missed = time.time(), witness.status.holds, witness.status.deadlines_missed
            plan = ["swap"] * self._options.swaps + ["broken"] * self._options.broken
            self._random.shuffle(plan)
            for kind in plan:
                self._pause()
                self._do(kind)
            self._pause()
            self._judge(began_s, time.time())
            result.holds = witness.status.holds - holds
            result.missed = witness.status.deadlines_missed - missed
            if result.holds:
                result.problems.append(f"{result.holds} holds")
        except Unexpected as error:
            result.problems.append(str(error))
        return result

    def _do(self, kind: str) -> None:
        result = self._result
        if kind == "swap":
            running = self._witness.status.policy_path
            target = self._policies[running == str(self._policies[0])]
            swap = self._swap(target)
            swap.memory_mb = self._settled_memory()
            result.swaps.append(swap)
            if target == self._policies[0] and swap.memory_mb > GROWTH * result.first_mb:
                result.problems.append(f"{swap.memory_mb:.0f} MB after swap {len(result.swaps)}")
            return
        kinds = list(self._broken)
        wrong = kinds[len(result.broken) % len(kinds)]
        result.broken.append(self._fail(wrong, self._broken[wrong]))

    def _swap(self, path: Path) -> Swap:
        witness, epoch = self._witness, self._witness.status.epoch
        began_s = time.time()
        reason, answer_s = witness.ask_for(str(path))
        if reason:
            raise Unexpected(f"{path} was refused: {reason}")
        swap = Swap(path.name, answer_s, began_s)
        witness.wait_for(
            lambda: witness.status.policy_path == str(path) and witness.status.swap_phase == "idle",
            SWAP_S,
            f"{path}; {witness.status.swap_phase}: {witness.status.swap_detail}",
        )
        swap.end_s = time.time() + SETTLE_S
        if witness.status.epoch != epoch + 1:
            self._result.problems.append(f"{path.name}: expected epoch {epoch + 1}, got {witness.status.epoch}")
        return swap

    def _fail(self, kind: str, path: Path) -> Swap:
        witness, before = self._witness, self._witness.status
        swap = Swap(kind, 0.0, time.time())
        swap.refusal, swap.answer_s = witness.ask_for(str(path))
        if not swap.refusal:
            witness.wait_for(lambda: witness.status.swap_phase == "failed", SWAP_S, f"the failure of '{kind}'")
            swap.refusal = witness.status.swap_detail
        witness.wait_for(lambda: witness.path_parameter() == before.policy_path, SWAP_S, "the parameter to be set back")
        swap.end_s = time.time()
        after = witness.status
        if (after.epoch, after.policy_path) != (before.epoch, before.policy_path):
            self._result.problems.append(f"{kind}: another epoch or policy")
        return swap

    def _settled_memory(self) -> float:
        time.sleep(SETTLE_S)
        taken = usage(self._node.pid, 0.0)
        return float("nan") if taken is None else taken.memory_mb

    def _pause(self) -> None:
        time.sleep(self._random.uniform(*PAUSE_S))

    def _judge(self, began_s: float, ended_s: float) -> None:
        result, dt_s = self._result, 1.0 / self._parameters.execution.rate_hz
        swaps = [(swap.begin_s, swap.end_s) for swap in result.swaps]
        broken = [(swap.begin_s, swap.end_s + SETTLE_S) for swap in result.broken]
        busy = sorted([*swaps, *broken])
        edges = [began_s, *itertools.chain.from_iterable(busy), ended_s]
        quiet = list(zip(edges[::2], edges[1::2], strict=True))
        first = next(iter(self._witness.commands.values()))
        times = [command.time_s for command in list(first)]
        result.swapping, result.failing, result.between = (
            Periods.of(times, spans, dt_s) for spans in (swaps, broken, quiet)
        )
        names, gate = self._parameters.joints.names, self._parameters.gate
        holds = [(stamp_s(status), status.holds) for status in list(self._witness.statuses)]
        for name, output in self._parameters.outputs.items():
            columns = [names.index(joint) for joint in output.joints]
            commands = [command for command in list(self._witness.commands[name]) if command.time_s >= began_s]
            steps = judge_steps(
                [command.time_s for command in commands],
                np.stack([command.row for command in commands]),
                np.asarray(gate.max_velocity)[columns],
                np.asarray(gate.max_acceleration)[columns],
                dt_s,
                holds,
            )
            result.steps[name] = steps
            if steps.beyond:
                result.problems.append(f"{name}: {steps.beyond} commands beyond the gate's limits")


if __name__ == "__main__":
    sys.exit(main())
