# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of the simulated robot's task in a bag, written without ROS and in no time of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.expert import Expert
from policy_ros.simulation.kinematics import JOINT_NAMES
from support.bags import Recording, array, episode, image, joint_state, ns, trajectory

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS_FILE = ROOT / "config" / "sim.yaml"
CHECKPOINT = ROOT / "checkpoints" / "pick_act"
ARM, GRIPPER = "/arm_controller/joint_trajectory", "/gripper_controller/commands"
PERIOD_S = 0.02
_ROWS = 5
_PAUSE_S = 0.5


def record_pick(path: Path, seeds: Sequence[int], *, commands_late_s: float = 0.0, limit_s: float = 8.0) -> Path:
    """An episode for each seed: joint states and commands at 50 Hz, both cameras at 25 Hz, stamped when logged.

    Args:
        path: bag to be made.
        seeds: of the tasks.
        commands_late_s: the commands are logged so much later than they were given: a fault [s].
        limit_s: longest episode [s].
    """
    env = PickEnv("pixels_agent_pos", (96, 128), control_hz=1.0 / PERIOD_S)
    events: list[tuple[float, str, object]] = []
    begin_s = 0.0
    for index, seed in enumerate(seeds):
        end_s, success = _demonstrate(env, seed, begin_s, round(limit_s / PERIOD_S), commands_late_s, events)
        events.append((begin_s, "/episode", episode(ns(begin_s), index, 0)))
        events.append((end_s, "/episode", episode(ns(end_s), index, 1, result=1 if success else 2)))
        begin_s = end_s + _PAUSE_S
    with Recording(path) as bag:
        for time_s, topic, message in sorted(events, key=lambda event: event[0]):
            bag.add(topic, ns(time_s), message)
    return path


def _demonstrate(
    env: PickEnv, seed: int, begin_s: float, steps: int, late_s: float, events: list[tuple[float, str, object]]
) -> tuple[float, bool]:
    """Add the messages of one episode; when it ended, and whether it was solved."""
    observation, _ = env.reset(seed=seed)
    expert, in_force = Expert(), np.array(observation["agent_pos"], dtype=np.float64)
    time_s, success = begin_s, False
    for step in range(steps):
        time_s = begin_s + step * PERIOD_S
        measured = observation["agent_pos"]
        events.append((time_s, "/joint_states", joint_state(ns(time_s), JOINT_NAMES, measured)))
        if step % 2 == 0:
            for camera, pixels in observation["pixels"].items():
                events.append((time_s, f"/camera/{camera}/image_raw", image(ns(time_s), pixels)))
        plan = expert.plan(env.world, env.goal.position, in_force, rows=_ROWS, period_s=PERIOD_S)
        points = [((row + 1) * PERIOD_S, values[:3]) for row, values in enumerate(plan)]
        sent_s = time_s + 0.001 + late_s
        events.append((sent_s, ARM, trajectory(ns(sent_s), JOINT_NAMES[:3], points)))
        events.append((sent_s, GRIPPER, array(plan[0][3:])))
        observation, _, success, _, _ = env.step(in_force.astype(np.float32))  # a command acts a period later
        in_force = plan[0]
        if success:
            break
    return time_s + PERIOD_S, success
