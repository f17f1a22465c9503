# SPDX-License-Identifier: Apache-2.0
"""``policy-ros replay compare``: exit statuses, the table, JSON on stdout alone."""

from __future__ import annotations

import argparse
import json

import pytest
from support.replay_traces import make_traces

from policy_ros.cli import replay_compare
from policy_ros.errors import ConfigurationError
from policy_ros.replay.metrics import measure
from policy_ros.replay.result import BagResult, ReplayResult


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Output directories of a good and of a worse policy, and of one on another bag."""
    folder = tmp_path_factory.mktemp("results")
    for name, bag, error in (("good", "made_up", 0.01), ("worse", "made_up", 0.03), ("other", "other", 0.01)):
        episodes = tuple(measure(trace) for trace in make_traces(4, bag=bag, ticks=150, error=error, noise=0.01))
        bags = (BagResult(f"/data/{bag}", episodes),)
        result = ReplayResult({"path": name, "type": "act"}, {"mode": "rtc", "seed": 0}, bags)
        (folder / name).mkdir()
        (folder / name / "metrics.json").write_text(json.dumps(result.as_json()))
    return folder


def run(results, *words: str) -> int:
    parser = argparse.ArgumentParser()
    replay_compare.add_arguments(parser)
    return replay_compare.execute(parser.parse_args([str(results / words[0]), str(results / words[1]), *words[2:]]))


def test_a_comparison_prints_a_table(results, capsys):
    assert run(results, "good", "worse") == 0
    out = capsys.readouterr().out
    assert "4 episodes in both" in out
    (row,) = (line for line in out.splitlines() if line.startswith("mae "))
    assert row.endswith("worse") and "+0.0" in row
    assert "mae.joint_1" not in out, "single joints are for --all"


def test_all_metrics_are_printed_on_demand(results, capsys):
    assert run(results, "good", "worse", "--all") == 0
    out = capsys.readouterr().out
    assert "mae.joint_1" in out and "holds.LIMIT" in out


def test_json_is_one_object(results, capsys):
    assert run(results, "good", "worse", "--json", "--fail-if", "mae.low > 0") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["mae"]["verdict"] == "worse"
    assert found["A"]["policy"]["path"] == "good"
    assert found["failed"] == [found["failed"][0]] and "mae.low > 0" in found["failed"][0]


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ((), 0),
        (("mae > 0.5",), 0),
        (("mae.low > 0",), 3),
        (("B.mae > 0.02", "A.mae > 0.02"), 3),
        (("seam_jump.max.low > 5",), 3),
    ],
)
def test_exit_status_by_conditions(results, capsys, conditions, status):
    words = [word for condition in conditions for word in ("--fail-if", condition)]
    assert run(results, "good", "worse", *words) == status
    assert ("failed:" in capsys.readouterr().err) is (status == 3)


def test_what_cannot_be_compared_is_an_error(results, capsys):
    assert run(results, "good", "other") == 1
    assert "only in A: made_up" in capsys.readouterr().err
    assert run(results, "good", "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("condition", ["mae", "mea > 1", "C.mae > 1"])
def test_a_wrong_condition_is_wrong_usage(results, condition):
    with pytest.raises(ConfigurationError):  # exit status 2 of the command
        run(results, "good", "worse", "--fail-if", condition)
