# SPDX-License-Identifier: Apache-2.0
"""``policy-ros sim --expert`` as a person starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policy_ros.bags import find_episodes, open_bag

COMMAND = [str(Path(sys.prefix) / "bin" / "policy-ros"), "sim", "--expert"]
SMALL = ["-p", "image_width:=64", "-p", "image_height:=48"]


def run(folder: Path, domain_id: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *SMALL, *arguments],
        cwd=folder,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        capture_output=True,
        text=True,
        timeout=240.0,
    )


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_demonstrations_end_in_a_bag_with_their_episodes(domain_id: int, tmp_path: Path, storage: str):
    # In simulated time, which a busy machine slows down instead of losing messages.
    options = [
        "--record",
        "bag",
        "--storage",
        storage,
        "--episodes",
        "2",
        "--seed",
        "5",
        "--time-factor",
        "1",
        "--json",
    ]
    done = run(tmp_path, domain_id, *options)
    summary = json.loads(done.stdout)
    assert done.returncode == summary["exit_status"] == 0, done.stderr
    assert (summary["episodes"], summary["successes"], summary["failed_seeds"]) == (2, 2, [])
    bag = open_bag(tmp_path / "bag")
    episodes = find_episodes(bag)
    assert [(episode.index, episode.success, episode.task) for episode in episodes] == [
        (0, True, "put the puck on the goal"),
        (1, True, "put the puck on the goal"),
    ]
    for episode in episodes:
        seconds = (episode.stop_ns - episode.start_ns) * 1e-9
        for topic, hz in (
            ("/joint_states", 100.0),
            ("/camera/top/image_raw", 30.0),
            ("/camera/wrist/image_raw", 30.0),
            ("/arm_controller/joint_trajectory", 50.0),
            ("/gripper_controller/commands", 50.0),
        ):
            count = sum(1 for _ in bag.messages([topic], start_ns=episode.start_ns, stop_ns=episode.stop_ns))
            assert count == pytest.approx(hz * seconds, rel=0.1), topic


def test_tasks_that_are_not_solved_in_time_are_named_by_their_seeds(domain_id: int, tmp_path: Path):
    done = run(tmp_path, domain_id, "--episodes", "2", "--seed", "7", "-p", "episode_timeout_s:=0.3")
    assert done.returncode == 0, done.stderr
    assert "0 of 2 episodes solved" in done.stdout
    assert "not: seeds 7, 8" in done.stdout
    assert "episode 0: FAILURE after" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--record", "."], "'.' exists"),
        (["-p", "expert_noise:=5.0"], "expert_noise"),
    ],
)
def test_impossible_demonstration_is_refused_before_it_begins(
    domain_id: int, tmp_path: Path, arguments: list[str], message: str
):
    done = run(tmp_path, domain_id, "--episodes", "1", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
