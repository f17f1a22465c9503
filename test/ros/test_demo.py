# SPDX-License-Identifier: Apache-2.0
"""The demonstration as a person starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from demonstrating.tally import Tally
from support.checkpoints import write_pick_act
from support.waiting import wait_for

from policy_ros.bags import find_episodes, open_bag
from policy_ros.msg import PolicyStatus
from policy_ros.parameters.files import read_parameters
from policy_ros.policies import load_policy
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.reproduction import reproduce
from policy_ros.ros.monitor import FrameCounts
from policy_ros.ros.simulated_robot.client import EpisodeResult

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]
SIM = ROOT / "config" / "sim.yaml"


@pytest.fixture(scope="module")
def pick_act(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pick_act(tmp_path_factory.mktemp("checkpoint") / "pick_act")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, "--out", str(folder / "demo"), *arguments], cwd=folder, capture_output=True, text=True, timeout=400.0
    )


def test_every_episode_is_run_judged_and_recorded_and_nothing_is_left(pick_act: Path, tmp_path: Path):
    execution = ["--mode", "overlap", "--delay-ms", "80"]
    done = run(tmp_path, "--policy", str(pick_act), "--episodes", "2", "--timeout", "5", *execution)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["policy"] == "act" and summary["checkpoint"] == str(pick_act)
    success = summary["success"]
    assert (success["episodes"], success["successes"], success["failed_seeds"]) == (2, 0, [10_000, 10_001])
    assert "0 of 2 episodes solved (0%); not: seeds 10000, 10001" in done.stdout
    assert summary["mode"] == "overlap"
    assert summary["added_delay_ms"] == 80.0 and summary["inference_ms"]["p50"] >= 80.0
    assert summary["delay_steps"]["max"] >= 3, "80 ms are four periods"
    for camera in ("top", "wrist"):
        assert summary["cameras"][camera]["published"] > 0
        assert summary["cameras"][camera]["ratio"] > 0.6, "without the profile most images are lost"
    for measured in ("observation_age_ms", "inference_ms", "command_period_ms"):
        assert 0.0 < summary[measured]["p50"] <= summary[measured]["p99"]
    assert summary["chunks"] > 2 and summary["commands"] > 0
    assert summary["peak_memory_mb"]["policy_node"] > 0
    assert summary["exit_status"] == {"policy_node": 0, "simulated_robot": 0}
    assert summary["left_behind"] == {"processes": [], "shared_memory_segments": []}
    assert summary["files"] == ["pick_episode.png", "bag"]
    assert cv2.imread(str(tmp_path / "demo" / "pick_episode.png")).shape[1] > 1000
    bag = open_bag(tmp_path / "demo" / "bag")
    assert {"/policy/action_chunk", "/policy/status", "/arm_controller/joint_trajectory"} <= set(bag.topics)
    assert [(episode.index, episode.success) for episode in find_episodes(bag)] == [(0, False), (1, False)]
    policy = load_policy(pick_act, device="cpu")
    policy.freeze()
    again = reproduce(bag.path, policy, ReplayOptions(read_parameters(SIM)))
    assert len(again.differences) == len(again.chunks) > 2, "every observation is in the bag"
    assert again.largest < 1e-5, "the bag gives the policy what the node gave it"


def test_an_interrupted_demonstration_ends_its_processes(pick_act: Path, tmp_path: Path):
    demo = subprocess.Popen(
        [*DEMO, "--out", str(tmp_path), "--policy", str(pick_act)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: (tmp_path / "recorder.log").exists(), 30.0, "the recorder")
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    assert len(children) == 3
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60.0)
    assert demo.returncode == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_policy_that_is_not_there_is_named_before_anything_starts(tmp_path: Path):
    done = run(tmp_path, "--policy", "nothing")
    assert done.returncode == 1
    assert done.stderr == "demo: policy: expected a checkpoint directory with config.json, found none at 'nothing'\n"
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_no_bag_is_not_removed(pick_act: Path, tmp_path: Path):
    (tmp_path / "demo" / "bag").mkdir(parents=True)
    (tmp_path / "demo" / "bag" / "thesis.txt").write_text("42")
    done = run(tmp_path, "--policy", str(pick_act), "--episodes", "1")
    assert done.returncode == 1
    assert "expected nothing or a bag" in done.stderr
    assert (tmp_path / "demo" / "bag" / "thesis.txt").exists()


def test_tally_adds_counts_and_keeps_the_worst_times():
    tally = Tally()
    for index, (success, holds, p99) in enumerate([(True, 1, 0.2), (False, 2, 0.5), (True, 0, 0.1)]):
        status = PolicyStatus(mode="rtc", holds=holds, inference_latency_p99=p99)
        status.active_mode = "rtc" if success else "hold"
        status.inference_latency_p50 = 0.01 * index
        first, last = (FrameCounts({"top": n}, {"top": float(n - index)}) for n in (10, 110))
        for chunks in (1, 2, 2, 3):
            status.chunks = chunks
            status.delay = index + chunks
            tally.note(status)
        tally.add(EpisodeResult(index, success, 4.0 + index), status, first, last)
    success = tally.success(first_seed=7)
    assert success == {"episodes": 3, "successes": 2, "rate": 2 / 3, "failed_seeds": [8], "seconds": 5.0}
    execution = tally.execution()
    assert execution["holds"] == 3 and execution["mode"] == "rtc" and execution["active_modes"] == {"rtc": 2, "hold": 1}
    assert execution["delay_steps"] == {"median": 3.5, "max": 5}
    assert execution["inference_ms"] == pytest.approx({"p50": 10.0, "p99": 500.0})
    assert tally.cameras() == {"top": {"published": 300, "received": 300, "ratio": 1.0}}
