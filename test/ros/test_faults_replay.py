# SPDX-License-Identifier: Apache-2.0
"""Rows 29 and 30 of docs/faults.md: what a replay makes of bad bags and of a full disk; the installed command."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.bags import Recording, storage_file
from support.checkpoints import write_act
from support.replays import record
from support.waiting import wait_for

from policy_ros.bags import open_bag

COMMAND = str(Path(sys.prefix) / "bin" / "policy-ros")
EPISODES = ((0.2, 0.7), (0.8, 1.3))
TIMEOUT_S = 240.0
PARAMETERS = {
    "joints": {"names": ["shoulder", "elbow"]},
    "cameras": {"front": {"topic": "camera/front/image_raw"}},
    "outputs": {"arm": {"type": "position_array", "topic": "arm/commands", "joints": ["shoulder", "elbow"]}},
    "execution": {"rate_hz": 50.0, "mode": "overlap", "execution_horizon": 5},
    "gate": {"use_robot_description": False},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """Arguments that name a tiny policy and the parameters of the recorded robot."""
    folder = tmp_path_factory.mktemp("given")
    policy = write_act(folder / "act", joints=2, chunk_size=10)
    (folder / "robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": PARAMETERS}}))
    return ["--policy", str(policy), "--params-file", str(folder / "robot.yaml"), "--device", "cpu"]


@pytest.fixture
def replay(given: list[str], tmp_path: Path):
    """Runs ``policy-ros replay ARGUMENTS`` in the test's folder; what came of it, and what it printed as JSON."""

    def run(*arguments: str, before: Callable[[], None] | None = None):
        done = subprocess.run(
            [COMMAND, "replay", *arguments, *given, "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            preexec_fn=before,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done, json.loads(done.stdout)

    return run


def rows(told: dict) -> list[tuple[str, int]]:
    return [(bag["status"], len(bag["episodes"])) for bag in told["bags"]]


def split_in_two(bag: Path, split: Path) -> None:
    """The same messages in two files."""
    original = open_bag(bag)
    middle_ns = (original.start_ns + original.end_ns) // 2
    halves = ((None, middle_ns), (middle_ns, None))
    names = [f"{split.name}_{number}.mcap" for number in range(len(halves))]
    split.mkdir()
    for name, (start_ns, stop_ns) in zip(names, halves, strict=True):
        part = split.parent / f"{name}.part"
        with Recording(part) as recording:
            for message in original.messages(list(original.topics), start_ns=start_ns, stop_ns=stop_ns):
                type_ = original.topics[message.topic].type
                recording.raw(message.topic, message.log_ns, type_, bytes(message.data))
        shutil.move(storage_file(part), split / name)
    information = {"relative_file_paths": names, "storage_identifier": "mcap"}
    (split / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))


def cut_off(bag: Path, share: float) -> None:
    file = storage_file(bag)
    os.truncate(file, int(file.stat().st_size * share))


def test_fault_29_what_can_be_read_of_a_damaged_bag_is_evaluated_and_the_rest_is_said(replay, tmp_path: Path):
    record(tmp_path / "cut", 2.0, episodes=EPISODES)
    cut_off(tmp_path / "cut", 0.6)
    record(tmp_path / "unzipped", 12.0, episodes=EPISODES, compression="storage")  # of several blocks of zstd
    cut_off(tmp_path / "unzipped", 0.8)
    record(tmp_path / "killed", 2.0, episodes=EPISODES)
    (tmp_path / "killed" / "metadata.yaml").unlink()
    record(tmp_path / "database", 2.0, episodes=EPISODES, storage="sqlite3")
    cut_off(tmp_path / "database", 0.6)
    bags = ("cut", "unzipped", "killed", "database")
    done, told = replay(*bags, "--out", "out", "--no-report", "--mcap", "predictions", "--workers", "2")
    assert done.returncode == 1
    assert [bag["status"] for bag in told["bags"]] == ["partial"] * 4
    assert rows(told)[2] == ("partial", 2), "all of it can be read"
    assert 1 <= len(told["bags"][0]["episodes"]) <= 2
    for bag, row in zip(bags, told["bags"], strict=True):
        assert row["problems"] and all(line.startswith(bag) for line in row["problems"]), row["problems"]
    assert "metadata.yaml" in told["bags"][2]["problems"][0]
    assert told["summary"]["episodes"] == sum(episodes for _, episodes in rows(told))
    assert json.loads((tmp_path / "out/metrics.json").read_text())["status"] == "partial"


def test_fault_29_a_bag_that_cannot_be_replayed_fails_its_own_row_and_may_be_allowed(replay, tmp_path: Path):
    record(tmp_path / "good", 1.5, episodes=EPISODES)
    record(tmp_path / "blind", 1.0, camera=False)
    record(tmp_path / "empty", 0.0)
    (tmp_path / "notes.txt").write_text("no bag")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    record(tmp_path / "foreign", 1.0)
    storage_file(tmp_path / "foreign").write_bytes(b"something else entirely" * 100)
    bags = ("blind", "empty", "notes.txt", "old.bag", "foreign", "nowhere", "good")
    done, told = replay(*bags, "--out", "out", "--no-report", "--mcap", "none", "--allow-partial")
    assert done.returncode == 0
    assert rows(told) == [("failed", 0)] * 6 + [("complete", 2)]
    errors = [bag["error"] for bag in told["bags"]]
    assert all(error.startswith(bag) for bag, error in zip(bags, errors[:-1], strict=False))
    assert "expected topic '/camera/front/image_raw'" in errors[0]
    assert "expected messages, got none" in errors[1]
    assert "rosbags-convert" in errors[3] and "nothing there" in errors[5] and errors[6] == ""


def test_fault_29_where_nothing_can_be_evaluated_it_is_an_error_although_allowed(replay, tmp_path: Path):
    record(tmp_path / "blind", 1.0, camera=False)
    done, told = replay("blind", "--out", "out", "--allow-partial")
    assert done.returncode == 1 and told["status"] == "failed" and told["summary"] is None
    assert json.loads((tmp_path / "out/metrics.json").read_text())["bags"] == told["bags"]


def test_fault_29_a_bag_without_commands_is_evaluated_as_far_as_that_goes(replay, tmp_path: Path):
    record(tmp_path / "bag", 1.5, episodes=EPISODES, commands=False)
    done, told = replay("bag", "--out", "out")
    assert done.returncode == 1 and rows(told) == [("partial", 2)]
    assert any("/arm/commands" in line for line in told["bags"][0]["problems"])
    metrics = told["summary"]["metrics"]
    assert metrics["mae"]["value"] is None and metrics["seam_jump.max"]["value"] is not None
    assert (tmp_path / "out/report.html").exists()


def test_fault_29_compressed_and_split_bags_are_whole(replay, tmp_path: Path):
    ways = [("mcap", "file"), ("mcap", "message"), ("mcap", "storage"), ("sqlite3", "file"), ("sqlite3", "message")]
    names = [f"{storage}_{compression}" for storage, compression in ways]
    for name, (storage, compression) in zip(names, ways, strict=True):
        record(tmp_path / name, 1.0, episodes=((0.2, 0.8),), storage=storage, compression=compression)
    record(tmp_path / "plain", 1.0, episodes=((0.2, 0.8),))
    split_in_two(tmp_path / "plain", tmp_path / "split")
    done, told = replay("plain", "split", *names, "--out", "out", "--no-report", "--mcap", "none")
    assert done.returncode == 0, told
    first, *others = [bag["episodes"][0] for bag in told["bags"]]
    assert all({**other, "bag": ""} == {**first, "bag": ""} for other in others)


def test_fault_29_a_truncated_bag_may_be_allowed(replay, tmp_path: Path):
    record(tmp_path / "bag", 2.0, episodes=EPISODES)
    cut_off(tmp_path / "bag", 0.7)
    done, told = replay("bag", "--out", "out", "--no-report", "--allow-partial")
    assert done.returncode == 0 and told["status"] == "partial"
    assert (tmp_path / "out/replay.mcap").exists()


def test_fault_30_files_that_cannot_grow_are_left_out_and_the_metrics_stay(replay, tmp_path: Path):
    record(tmp_path / "bag", 8.0, episodes=((0.2, 0.7), (6.0, 7.5)))
    limit = 150_000  # more than the metrics, less than the messages and the page

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done, told = replay("bag", "--out", "out", before=limit_files)
    assert done.returncode == 1
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["metrics.json", "run.json"]
    assert "report.html: cannot be written: File too large" in done.stderr
    assert rows(told) == [("partial", 2)]
    (problem,) = told["bags"][0]["problems"]
    assert problem == "replay.mcap: cannot be written: File too large; removed, the metrics go on"
    assert json.loads((tmp_path / "out/metrics.json").read_text())["bags"] == told["bags"]


def mount_is_permitted() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-r", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize(("kilobytes", "kept"), [(900, ["metrics.json", "run.json"]), (16, ["run.json"])])
def test_fault_30_on_a_full_disk_what_fits_is_kept_and_all_is_told(given, tmp_path: Path, kilobytes: int, kept):
    if not mount_is_permitted():
        pytest.skip("a small file system cannot be mounted here (unshare -r -m)")
    record(tmp_path / "bag", 30.0, episodes=((0.2, 0.7), (28.0, 29.0)))
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=$0k none disk && { "$@"; status=$?; ls disk/out >&2; exit $status; }'
    command = [COMMAND, "replay", "bag", "--out", "disk/out", *given, "--json"]
    done = subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", script, str(kilobytes), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    told = json.loads(done.stdout)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert [line for line in lines if not line.startswith("policy-ros")] == kept
    assert any("disk/out/report.html: cannot be written: No space left on device" in line for line in lines)
    assert any("metrics.json: cannot be written" in line for line in lines) == (kilobytes < 100)
    assert rows(told) == [("partial", 2)] and told["summary"]["episodes"] == 2


def test_ctrl_c_ends_it_soon_with_what_is_done_written(given, tmp_path: Path):
    """As a terminal does it: every process of the group is told."""
    for name in ("a", "b", "c"):
        record(tmp_path / name, 60.0, episodes=((0.2, 0.7), (0.8, 59.0)))
    process = subprocess.Popen(
        [COMMAND, "replay", "a", "b", "c", "--out", "out", "--workers", "2", "--no-report", *given],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        begun = tmp_path / "out" / "a.replay.mcap.unfinished"
        wait_for(lambda: begun.exists() or process.poll() is not None, timeout_s=TIMEOUT_S, what="a begin")
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60.0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 128 + signal.SIGINT, errors
    assert "Traceback" not in errors
    told = json.loads((tmp_path / "out/metrics.json").read_text())
    assert told["status"] in ("partial", "failed") and {bag["error"] for bag in told["bags"]} == {"interrupted"}
    assert "interrupted" in output
    assert not list((tmp_path / "out").glob("*.unfinished"))
    # multiprocessing's own helper ends when it finds that everybody who spoke to it has ended
    wait_for(lambda: not processes_of(process.pid), timeout_s=TIMEOUT_S, what="the end of every process")


def test_a_killed_worker_fails_its_bag_only(given, tmp_path: Path):
    for name in ("a", "b"):
        record(tmp_path / name, 60.0 if name == "a" else 1.0)
    process = subprocess.Popen(
        [COMMAND, "replay", "a", "b", "--out", "out", "--no-report", *given, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        begun = tmp_path / "out" / "a.replay.mcap.unfinished"
        wait_for(lambda: begun.exists() or process.poll() is not None, timeout_s=TIMEOUT_S, what="a begin")
        (worker,) = [pid for pid in processes_of(process.pid) if b"spawn_main" in command_line(pid)]
        os.kill(worker, signal.SIGKILL)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    told = json.loads(output)
    assert process.returncode == 1 and rows(told) == [("failed", 0), ("complete", 1)]
    assert "ended by SIGKILL" in told["bags"][0]["error"]


def processes_of(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
