# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench execution`` as a whole: the same numbers every time, and the orderings it is to show."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from policy_ros.bench.execution.contenders import stub_contender
from policy_ros.bench.execution.findings import findings
from policy_ros.bench.execution.suite import Cell, SuiteOptions, run_suite
from policy_ros.bench.execution.task import ForkedPath
from policy_ros.cli.main import main

PATH = ForkedPath()


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    options = SuiteOptions(modes=("sync", "overlap", "rtc"), delays_ms=(0.0, 200.0), episodes=2)
    return run_suite(PATH, [stub_contender(PATH)], options, lambda cell, trace: None)


def summary_of(cells: list[Cell], way: str, delay_ms: float):
    return next(cell.summary for cell in cells if (cell.way, cell.delay_ms) == (way, delay_ms))


@pytest.mark.parametrize("name", ["seam_jump_rad", "seam_excess_rad"])
def test_the_largest_seam_of_rtc_is_a_fifth_of_that_of_overlap_or_less_at_200_ms(cells: list[Cell], name: str):
    overlap, rtc = (getattr(summary_of(cells, mode, 200.0), name) for mode in ("overlap", "rtc"))
    assert 5.0 * rtc < overlap


def test_the_task_time_of_sync_grows_by_one_delay_for_each_inference(cells: list[Cell]):
    base = summary_of(cells, "sync", 0.0)
    late = summary_of(cells, "sync", 200.0)
    assert late.task_time_s - base.task_time_s == pytest.approx(late.inferences * 0.2, rel=0.01)


def test_the_task_time_of_rtc_hardly_grows(cells: list[Cell]):
    """From the first command on: before it every mode waits for its first chunk."""
    base, late = (summary_of(cells, "rtc", delay) for delay in (0.0, 200.0))
    assert late.start_time_s == pytest.approx(0.2)
    assert late.task_time_s - late.start_time_s < 1.02 * (base.task_time_s - base.start_time_s)


def test_success_is_that_without_delay_for_sync_and_at_least_that_of_overlap_for_rtc(cells: list[Cell]):
    assert {summary_of(cells, "sync", delay).success for delay in (0.0, 200.0)} == {1.0}
    for delay in (0.0, 200.0):
        assert summary_of(cells, "rtc", delay).success >= summary_of(cells, "overlap", delay).success


def test_the_findings_say_the_same(cells: list[Cell]):
    found = [finding for finding in findings(cells) if "task time of rtc" not in finding.expected]
    assert len(found) == 5
    assert all(finding.holds for finding in found), [finding for finding in found if not finding.holds]


def test_a_finding_that_does_not_hold_is_not_hidden(cells: list[Cell]):
    """With the modes' names exchanged nearly everything is wrong."""
    names = {"overlap": "rtc", "rtc": "overlap", "sync": "sync"}
    wrong = [Cell(cell.policy, names[cell.way], names[cell.mode], cell.delay_ms, cell.summary) for cell in cells]
    seams = [finding for finding in findings(wrong) if finding.expected.startswith("largest seam")]
    assert [finding.holds for finding in seams] == [False, False]


COLUMNS = {"time_s", "state", "seam", "inferring"}
COLUMNS |= {f"{joint}_{what}_rad" for joint in ("base", "shoulder") for what in ("command", "arm")}
SHORT = ["bench", "execution", "--modes", "rtc", "--delays", "300", "--episodes", "1"]


def test_two_runs_print_the_same_json_to_the_last_byte(capsys: pytest.CaptureFixture[str]):
    outputs = []
    for _ in range(2):
        assert main([*SHORT, "--variants", "--jitter", "0.3", "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    report = json.loads(outputs[0])
    assert outputs[0].count("\n") == 1
    assert report["benchmark"] == "execution"
    assert [cell["way"] for cell in report["cells"]] == ["rtc", "rtc hard mask", "rtc identity"]
    assert all(cell["holds"] == 0 for cell in report["cells"])


def test_another_seed_gives_other_numbers(capsys: pytest.CaptureFixture[str]):
    outputs = []
    for seed in ("0", "1"):
        assert main([*SHORT[:2], "--modes", "sync", "--delays", "0", "--episodes", "1", "--seed", seed, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out)["cells"][0]["tracking_rms_rad"])
    assert outputs[0] != outputs[1]


def test_the_table_has_a_line_for_each_mode_and_delay_and_traces_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--modes", "sync,overlap", "--delays", "0,200", "--episodes", "1", "--trace", str(tmp_path)]
    assert main(["bench", "execution", *arguments]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line.startswith(("sync ", "overlap "))]
    assert [line[:3] for line in lines] == [[m, d, "ms"] for m in ("sync", "overlap") for d in ("0", "200")]
    assert "as expected stub: task time of sync" in " ".join(out.split())
    assert len(list(tmp_path.iterdir())) == 4
    rows = list(csv.DictReader((tmp_path / "stub_sync_200ms.csv").open()))
    assert set(rows[0]) == COLUMNS
    assert [row["state"] for row in rows[:11]] == ["WAITING"] * 10 + ["RUNNING"]
    assert all(row["inferring"] == "1" for row in rows if row["state"] in ("WAITING", "STARVED"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modes", "overlapp"], "did you mean 'overlap'?"),
        (["--delays", "100ms"], "expected milliseconds separated by commas, got '100ms'"),
        (["--delays", "-5"], "delay_ms: expected 0 to 10000, got -5"),
        (["--episodes", "0"], "expected at least 1 episode"),
        (["--stub-steps", "0"], "expected at least 1 denoising step, got 0"),
        (["--policy", "./nowhere"], "expected a checkpoint directory, found nothing"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", "execution", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
