# SPDX-License-Identifier: Apache-2.0
"""``policy-ros replay`` from its command line on: what it prints, and its exit status."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml
from support.checkpoints import write_act
from support.replays import record

from policy_ros.cli import replay
from policy_ros.errors import PolicyRosError

PARAMETERS = {
    "joints": {"names": ["shoulder", "elbow"]},
    "cameras": {"front": {}},
    "outputs": {"arm": {"type": "position_array", "topic": "arm/commands", "joints": ["shoulder", "elbow"]}},
    "execution": {"rate_hz": 50.0, "mode": "overlap", "execution_horizon": 5},
    "gate": {"use_robot_description": False},
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_act(tmp_path_factory.mktemp("policy") / "act", joints=2, chunk_size=10)


@pytest.fixture
def run(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs ``policy-ros replay ARGUMENTS`` beside a bag; the exit status."""
    monkeypatch.chdir(tmp_path)
    Path("robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": PARAMETERS}}))
    record(Path("bag"), 1.5, episodes=((0.2, 0.7), (0.8, 1.3)))
    given = ("--policy", str(policy), "--config", "robot.yaml", "--device", "cpu", "--no-report", "--mcap", "none")

    def run(*arguments: str) -> int:
        commands = argparse.ArgumentParser().add_subparsers()
        replay.add_parser(commands).add_argument("--json", action="store_true")
        return replay.execute(commands.choices["replay"].parse_args([*given, *arguments]))

    return run


def test_json_is_one_object_and_nothing_else(run, capsys):
    assert run("bag", "--out", "out", "--json", "--delay", "0.06s", "--seed", "4") == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert printed.err == ""
    written = json.loads(Path("out/metrics.json").read_text())
    assert {name: told[name] for name in written} == written
    assert told["failed"] == [] and told["run"]["bags"][0]["path"] == "bag"
    assert (written["options"]["delay"], written["options"]["seed"]) == ("60 ms", 4)
    assert [bag["path"] for bag in written["bags"]] == ["bag"]


def test_a_summary_for_people_names_metrics_bags_and_files(run, capsys):
    assert run("bag", "--out", "out") == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line}
    metrics = json.loads(Path("out/metrics.json").read_text())["summary"]["metrics"]
    assert f"{metrics['mae']['value']:.4g}" in lines["mae"] and " to " in lines["mae"] and "rad" in lines["mae"]
    assert lines["complete"] == "complete bag: 2 episodes, 1.5 s"
    assert printed.endswith("in out: metrics.json, run.json\n")


def test_a_condition_that_holds_has_an_exit_status_of_its_own(run, capsys):
    assert run("bag", "--out", "one", "--fail-if", "mae > 0.0001", "--fail-if", "coverage < 0.1") == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "failed:" in line]
    assert "mae > 0.0001: mae is 0." in line
    assert run("bag", "--out", "two", "--fail-if", "coverage < 0.1") == 0


def test_what_could_not_be_evaluated_counts_before_a_condition(run):
    condition = ("--fail-if", "mae > 0.0001")
    assert run("bag", "nowhere", "--out", "one", *condition) == 1
    assert run("bag", "nowhere", "--out", "two", *condition, "--allow-partial") == 3


def test_mode_and_single_parameters_override_the_file(run):
    assert run("bag", "--out", "out", "--mode", "sync", "-p", "execution.rate_hz:=25.0") == 0
    written = json.loads(Path("out/metrics.json").read_text())
    assert written["options"]["mode"] == "sync" and written["summary"]["dt_s"] == 0.04
    assert written["options"]["parameters"]["execution.rate_hz"] == 25.0


def test_parameters_and_topics_are_those_of_the_namespace(run, tmp_path: Path):
    section = {"/left/policy": {"ros__parameters": PARAMETERS}}
    Path("left.yaml").write_text(yaml.safe_dump(section))
    assert run("bag", "--out", "out", "--config", "left.yaml", "--namespace", "/left", "--json") == 1
    (bag,) = json.loads(Path("out/metrics.json").read_text())["bags"]
    assert "/left/camera/front/image_raw" in bag["error"] or "/left/joint_states" in bag["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fail-if", "mea > 1"), "did you mean 'mae'"),
        (("--fail-if", "mae"), "expected NAME > NUMBER"),
        (("--delay", "soon"), "expected a duration such as 120ms"),
        (("--seed", "-1"), "seed: expected 0 or more"),
        (("--mode", "fast"), "execution.mode"),
        (("--mode", "rtc"), "expected a policy that can be guided"),
        (("-p", "cameras.side.topic:=side"), "cameras.side: the policy has no feature 'observation.images.side'"),
        (("--workers", "0"), "--workers: expected at least 1"),
        (("--through-ros", "--workers", "2"), "--through-ros: expected one bag after the other"),
        (("--through-ros", "--delay", "0.1s"), "--delay: expected none beside --through-ros"),
        (("--config", "nowhere.yaml"), "found nothing at 'nowhere.yaml'"),
        (("--policy", "./nowhere"), "nowhere"),
        (("--out", "robot.yaml"), "is a file"),
        (("--out", "bag"), "apart from the bags"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_before_anything_is_made(run, arguments, message: str):
    with pytest.raises(PolicyRosError, match=message):
        run("bag", "--out", "out", *arguments)
    assert not Path("out").exists()
