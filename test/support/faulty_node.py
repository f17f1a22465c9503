# SPDX-License-Identifier: Apache-2.0
"""The policy node with a policy that misbehaves on command: run as a process, told by a file what to do next.

The file named by ``POLICY_ROS_FAULT`` holds one word: ``nan``, ``raise``, ``hang``, ``slow``, ``shape``, ``activate``,
``clock``, ``leap`` or nothing. ``stall`` and ``die`` act on the next prompt: its callback hangs, or ends the callbacks'
thread.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from policy_ros.policies import POLICY_REGISTRY
from policy_ros.policies.act.policy import ACTPolicy
from policy_ros.ros import policy_node, runtime
from policy_ros.ros.clocks import StepFreeTime
from policy_ros.ros.runtime import PolicyRuntime

FAULT_FILE = "POLICY_ROS_FAULT"
SLOW_S = 0.4
LEAP_RAD = 2.0
WALL_CLOCK_STEP_S = 3600.0


def fault() -> str:
    path = os.environ.get(FAULT_FILE)
    return Path(path).read_text().strip() if path and Path(path).exists() else ""


def note_task(task: str | None) -> None:
    """Tell the test which instruction the policy got."""
    path = os.environ.get(FAULT_FILE)
    if path and task is not None:
        Path(path).with_suffix(".task").write_text(task)


@POLICY_REGISTRY.register("faulty")
class FaultyPolicy(ACTPolicy):
    """ACT that obeys the file."""

    name = "faulty"

    def predict(self, observation, *, noise=None):
        chunk = super().predict(observation, noise=noise)
        note_task(observation.get("task"))
        word = fault()
        if word == "nan":
            chunk = chunk.copy()
            chunk[3, 0] = np.nan
        elif word == "raise":
            raise RuntimeError("CUDA out of memory (as told by the test)")
        elif word == "leap":
            chunk = chunk.copy()
            chunk[:, 0] += LEAP_RAD  # the first joint, from one row to the next
        elif word == "slow":
            threading.Event().wait(SLOW_S)
        elif word == "shape":
            chunk = chunk[:, :-1]
        elif word == "hang":
            while fault() == "hang":
                threading.Event().wait(0.05)
        return chunk


class FaultyRuntime(PolicyRuntime):
    """Fails after everything was started."""

    def activate(self) -> None:
        super().activate()
        if fault() == "activate":
            raise ValueError("a bug in activate (as told by the test)")


class FaultyNode(policy_node.PolicyNode):
    """A callback that does not come back, or takes its thread with it."""

    def _on_prompt(self, message) -> None:
        while fault() == "stall":
            threading.Event().wait(0.05)
        if fault() == "die":
            raise SystemExit("as told by the test")
        super()._on_prompt(message)


class SteppedTime(StepFreeTime):
    """Reads a wall clock that somebody sets to an hour later."""

    def __init__(self, ros_now_ns, **kwargs) -> None:
        step_ns = round(WALL_CLOCK_STEP_S * 1e9)
        super().__init__(lambda: ros_now_ns() + step_ns * (fault() == "clock"), **kwargs)


def main() -> int:
    runtime.StepFreeTime = SteppedTime
    policy_node.PolicyRuntime = FaultyRuntime
    policy_node.PolicyNode = FaultyNode
    return policy_node.main()


if __name__ == "__main__":
    raise SystemExit(main())
