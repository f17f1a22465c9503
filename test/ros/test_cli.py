# SPDX-License-Identifier: Apache-2.0
"""The ``policy-ros`` command as a person starts it: installed, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.holding import wait_until_commanding
from support.process import note_segments
from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [str(Path(sys.prefix) / "bin" / "policy-ros")]


def run(*arguments: str, cwd: Path, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout_s)


def test_doctor_finds_nothing_wrong_and_measures_that_images_arrive(tmp_path):
    done = run("doctor", "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] and done.returncode == 0, done.stdout
    assert {"interpreter", "ROS", "messages", "torch", "device", "middleware profile"} <= set(checks)
    received, published = (int(word) for word in checks["camera images"]["detail"].split()[:3:2])
    assert received >= 0.97 * published == 0.97 * 90


def test_doctor_names_a_missing_middleware_profile_and_its_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(tmp_path / "nothing.xml"))
    done = run("doctor", "--no-frames", cwd=tmp_path)
    assert done.returncode == 1
    line, cure = done.stdout[done.stdout.index("FAIL") :].splitlines()[:2]
    assert "nothing.xml does not exist" in line
    assert "unset FASTRTPS_DEFAULT_PROFILES_FILE" in cure


def test_a_picture_of_the_simulated_robot_is_saved(tmp_path):
    done = run("sim", "--picture", "robot.png", "--seed", "3", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {"picture": "robot.png", "seed": 3}
    assert (tmp_path / "robot.png").read_bytes().startswith(b"\x89PNG")


def test_run_commands_the_robot_and_sums_up_on_ctrl_c(robot, domain_id, parameters, tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    process = subprocess.Popen(
        [*COMMAND, "run", "--params-file", str(file), "--json"],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        wait_until_commanding(robot)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20.0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    summary = json.loads(output)
    assert process.returncode == summary["exit_status"] == 0
    assert summary["policy"] == "act" and summary["chunks"] > 0 and summary["commands"] > 0
    assert summary["command_period_ms"]["p50"] == pytest.approx(20.0, rel=0.2)
    assert len(robot.commands[-1].message.points) == 1, "the hold is the last command"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--params-file", "nothing.yaml"], "parameter file: expected a file, found nothing at 'nothing.yaml'"),
        (["run", "-p", "policy.path"], "parameter: expected NAME:=VALUE, got 'policy.path'"),
        (["sim", "-p", "seed=1"], "parameter: expected NAME:=VALUE, got 'seed=1'"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, arguments, message):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_single_value_overrides_files_even_if_two_of_them_set_it(tmp_path):
    for name in ("one.yaml", "two.yaml"):
        parameters = {"controllers": {"arm": {"type": "joint_trajectory", "joints": ["joint1"]}}}
        (tmp_path / name).write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    files = ("--params-file", "one.yaml", "--params-file", "two.yaml")
    done = run("sim", *files, "-p", "controllers.arm.type:=something_else", cwd=tmp_path)
    assert done.returncode == 1
    assert "'something_else' is not a choice" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_node_holds_and_ends_when_its_terminal_or_its_supervisor_is_gone(
    robot, domain_id, parameters, tmp_path, number
):
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    process = subprocess.Popen(
        [*COMMAND, "run", "--params-file", str(file)],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    wait_until_commanding(robot)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    note_segments(process.pid)
    process.send_signal(number)
    process.wait(20.0)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 10.0, "the end of the node")
    wait_for(lambda: len(robot.commands[-1].message.points) == 1, 2.0, "the hold, which is the last command")


def test_bench_pacing_measures_timer_and_thread_beside_every_load(tmp_path):
    done = run("bench", "pacing", "--seconds", "0.5", "--realtime-priority", "0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    measured = {(result["load"], result["pacing"]) for result in report["results"]}
    loads, pacings = ("idle", "inference", "busy Python"), ("rclpy timer", "thread")
    assert measured == {(load, pacing) for load in loads for pacing in pacings}
    for result in report["results"]:
        assert result["count"] > 0 and 0.0 < result["p50"] <= result["p99"] <= result["longest"]
        assert ("inference_ms" in result) == (result["load"] == "inference")
