# SPDX-License-Identifier: Apache-2.0
"""Many bags, from the request to the files."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.replays import PARAMETERS, record

from policy_ros.errors import ConfigurationError
from policy_ros.replay import jobs as jobs_module
from policy_ros.replay.delays import DelayKind, parse_delay
from policy_ros.replay.jobs import INTERRUPTED, BagRun, JobResult, PolicySource, ReplayJob, run_job
from policy_ros.replay.machine import run_record
from policy_ros.replay.options import ReplayOptions
from policy_ros.replay.result import BagResult, ReplayResult
from policy_ros.replay.run import ReplayRequest, _Board, replay
from policy_ros.replay.workers import run_in_processes
from policy_ros.replay.writing import write_json

EPISODES = ((0.2, 0.7), (0.8, 1.3))


@pytest.fixture
def request_of(checkpoint: Path, tmp_path: Path):
    """Makes a request without extras for bags of ``tmp_path``."""

    def make(*bags: str, out: str = "out", **changes) -> ReplayRequest:
        return replace(
            ReplayRequest(
                bags=tuple(str(tmp_path / bag) for bag in bags),
                policy=PolicySource(str(checkpoint), device="cpu"),
                options=ReplayOptions(PARAMETERS),
                out=tmp_path / out,
                messages="none",
                report=False,
            ),
            **changes,
        )

    return make


@dataclass
class Notes:
    """A :class:`policy_ros.replay.jobs.Watch` that remembers."""

    stop: bool = False
    results: dict[int, JobResult] = field(default_factory=dict)
    shares: list[tuple[int, float]] = field(default_factory=list)

    def done(self, index: int, result: JobResult) -> None:
        self.results[index] = result

    def progress(self, index: int, share: float) -> None:
        self.shares.append((index, share))

    def stopping(self) -> bool:
        return self.stop


class Deadly(PolicySource):
    """Kills the process that it arrives in."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


def metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def test_two_replays_write_the_same_bytes(request_of, tmp_path: Path):
    record(tmp_path / "bag", 1.5, episodes=EPISODES)
    options = ReplayOptions(PARAMETERS, delay=parse_delay("60ms"), seed=3)
    for out in ("one", "two"):
        replay(request_of("bag", out=out, options=options))
    assert (tmp_path / "one/metrics.json").read_bytes() == (tmp_path / "two/metrics.json").read_bytes()
    written = metrics(tmp_path / "one")
    assert written["status"] == "complete" and written["summary"]["metrics"]["delay.p50"]["value"] == 3.0
    assert (written["options"]["delay"], written["options"]["seed"]) == ("60 ms", 3)
    assert written["options"]["parameters"]["joints.names"] == ["shoulder", "elbow"]
    assert "joints.topic" not in written["options"]["parameters"]  # a default


def test_metrics_can_be_read_back(request_of, tmp_path: Path):
    record(tmp_path / "bag", 1.5, episodes=EPISODES)
    done = replay(request_of("bag"))
    again = ReplayResult.from_json(metrics(tmp_path / "out"))
    assert again == done.result and again.summary == done.result.summary
    with pytest.raises(ConfigurationError, match="format 1, got 7"):
        ReplayResult.from_json({**metrics(tmp_path / "out"), "format": 7})
    with pytest.raises(ConfigurationError, match="expected metrics of a replay"):
        ReplayResult.from_json({"success": 1})


def test_latencies_measured_here_can_be_drawn_from_in_another_replay(request_of, tmp_path: Path):
    record(tmp_path / "bag", 1.5, episodes=EPISODES)
    done = replay(request_of("bag"))
    run = json.loads((tmp_path / "out/run.json").read_text())
    delay = parse_delay(str(tmp_path / "out/run.json"))
    assert delay.kind is DelayKind.DRAWN and sorted(delay.samples_s) == run["inference_latencies_s"]
    assert len(delay.samples_s) == run["inference_s"]["count"] > 5
    assert run["bags"][0]["times_real_time"] > 0.0 and run["recorded_s"] == pytest.approx(1.49, abs=0.02)
    drawn = replay(request_of("bag", out="drawn", options=ReplayOptions(PARAMETERS, delay=delay)))
    assert drawn.result.options["delay"].startswith(f"drawn from {len(delay.samples_s)} of run.json")
    assert done.result.options["delay"] == "0 ms"


def test_a_bad_bag_fails_its_own_row_in_the_order_of_the_command_line(request_of, tmp_path: Path):
    record(tmp_path / "a", 1.5, episodes=EPISODES)
    record(tmp_path / "blind", 1.0, camera=False)
    record(tmp_path / "b", 1.0)
    done = replay(request_of("b", "blind", "nowhere", "a", workers=2))
    assert [bag.status for bag in done.result.bags] == ["complete", "failed", "failed", "complete"]
    assert [len(bag.episodes) for bag in done.result.bags] == [1, 0, 0, 2]
    assert "/camera/front/image_raw" in done.result.bags[1].error and "nowhere" in done.result.bags[2].error
    assert done.result.status == "partial" and done.result.summary.episodes == 3
    assert metrics(tmp_path / "out")["bags"][3]["status"] == "complete"


def test_bags_in_processes_and_one_after_the_other_give_the_same(request_of, tmp_path: Path):
    record(tmp_path / "a", 1.5, episodes=EPISODES)
    record(tmp_path / "b", 1.0)
    replay(request_of("a", "b", out="processes", workers=2))
    replay(request_of("a", "b", out="here"), in_this_process=True)
    assert (tmp_path / "processes/metrics.json").read_bytes() == (tmp_path / "here/metrics.json").read_bytes()


def test_a_killed_worker_fails_its_bag_and_the_others_go_on(request_of, checkpoint: Path, tmp_path: Path):
    for name in ("a", "b", "c"):
        record(tmp_path / name, 1.0)
    request = request_of("a", "b", "c")
    made = [ReplayJob(bag, request.policy, "act", request.options) for bag in request.bags]
    made[0] = replace(made[0], policy=Deadly(str(checkpoint)))
    notes = Notes()
    run_in_processes(made, notes, workers=1, threads=1)
    bags = [notes.results[index].bag for index in range(3)]
    assert [bag.status for bag in bags] == ["failed", "complete", "complete"]
    assert "ended by SIGKILL; out of memory?" in bags[0].error
    assert {index for index, _ in notes.shares} == {1, 2}


def test_who_wants_an_end_gets_what_is_done(request_of, tmp_path: Path):
    record(tmp_path / "a", 3.0, episodes=((0.2, 0.7), (0.8, 1.3), (1.5, 2.9)))
    record(tmp_path / "b", 1.0)
    stopping = []

    def progress(share: float, bags: int) -> None:
        if share > 0.3:
            stopping.append(share)

    done = replay(
        request_of("a", "b", messages="all"),
        stopping=lambda: bool(stopping),
        progress=progress,
        in_this_process=True,
    )
    first, second = done.result.bags
    assert first.status == "partial" and first.error == INTERRUPTED and 1 <= len(first.episodes) < 3
    assert second.status == "failed" and second.error == INTERRUPTED
    written = metrics(tmp_path / "out")
    assert written["status"] == "partial" and written["summary"]["episodes"] == len(first.episodes)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.replay.mcap", "metrics.json", "run.json"]


def test_processes_stop_when_somebody_wants_an_end(request_of, tmp_path: Path):
    for name in ("a", "b", "c"):
        record(tmp_path / name, 20.0)
    request = request_of("a", "b", "c")
    notes = Notes()
    stop_with_the_first = notes.progress

    def progress(index: int, share: float) -> None:
        stop_with_the_first(index, share)
        notes.stop = True

    notes.progress = progress
    made = [ReplayJob(bag, request.policy, "act", request.options) for bag in request.bags]
    run_in_processes(made, notes, workers=1, threads=1)
    assert {result.bag.error for result in notes.results.values()} == {INTERRUPTED}
    assert len(notes.results) == 3


def test_an_exception_in_the_middle_keeps_the_episodes_before_it(request_of, tmp_path: Path, monkeypatch):
    record(tmp_path / "bag", 2.0, episodes=EPISODES)
    request = request_of("bag")
    measured = []

    def fail_once(trace):
        if measured:
            raise RuntimeError("planted")
        measured.append(jobs_module_measure(trace))
        return measured[0]

    jobs_module_measure = jobs_module.measure
    monkeypatch.setattr(jobs_module, "measure", fail_once)
    result = run_job(ReplayJob(request.bags[0], request.policy, "act", request.options), lambda share: None)
    assert result.bag.status == "partial" and list(result.bag.episodes) == measured
    assert result.bag.error == f"{request.bags[0]}: RuntimeError: planted"


@pytest.mark.parametrize("broken", ["ReportCollector", "PredictionFile"])
def test_what_accompanies_the_metrics_cannot_spoil_them(request_of, tmp_path: Path, monkeypatch, broken: str):
    record(tmp_path / "bag", 2.0, episodes=EPISODES)

    def fail(self, trace) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(getattr(jobs_module, broken), "episode", fail)
    request = request_of("bag", report=broken == "ReportCollector", messages="all")
    done = replay(request)
    (bag,) = done.result.bags
    assert bag.status == "partial" and len(bag.episodes) == 2 and not bag.error
    (problem,) = bag.problems
    assert "planted" in problem
    assert not (tmp_path / "out/report.html").exists()
    assert (tmp_path / "out/replay.mcap").exists() == (broken == "ReportCollector")
    assert not list((tmp_path / "out").glob("*.unfinished"))


def test_progress_is_the_share_of_all_bags_by_their_size(request_of, tmp_path: Path):
    record(tmp_path / "long", 3.0)
    record(tmp_path / "short", 1.0)
    told: list[tuple[float, int]] = []
    replay(request_of("long", "short"), progress=lambda *each: told.append(each), in_this_process=True)
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert next(share for share, done in told if done == 1) == pytest.approx(0.75, abs=0.05)


def test_progress_that_is_heard_after_the_end_of_a_bag_takes_nothing_back():
    made = [ReplayJob("bag", PolicySource("policy"), "act", ReplayOptions(PARAMETERS))] * 2
    told: list[float] = []
    board = _Board(made, lambda: False, lambda share, bags: told.append(share))
    board.done(0, JobResult(BagResult("bag")))
    board.progress(0, 0.3)
    board.progress(1, 0.5)
    board.progress(1, 0.4)
    assert told == [0.5, 0.5, 0.75, 0.75]


@pytest.mark.parametrize(
    ("files", "overwrite", "message"),
    [
        (["metrics.json"], False, "has a replay in it; choose another, or allow --overwrite"),
        (["metrics.json", "notes.txt"], True, "has 'notes.txt' in it"),
        (["notes.txt"], False, "has 'notes.txt' in it"),
    ],
)
def test_a_directory_that_is_not_free_is_left_as_it_is(request_of, tmp_path: Path, files, overwrite, message):
    record(tmp_path / "bag", 1.0)
    (tmp_path / "out").mkdir()
    for name in files:
        (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ConfigurationError, match=message):
        replay(request_of("bag", overwrite=overwrite))
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == dict.fromkeys(files, "mine")


def test_results_of_an_earlier_replay_can_be_overwritten(request_of, tmp_path: Path):
    record(tmp_path / "a", 1.0)
    record(tmp_path / "b", 1.0)
    replay(request_of("a", "b", messages="predictions"), in_this_process=True)
    replay(request_of("a", overwrite=True))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["metrics.json", "run.json"]


@pytest.mark.parametrize("out", ["bag", "bag/results", "."])
def test_a_bag_is_never_written_to(request_of, tmp_path: Path, out: str):
    bag = record(tmp_path / "bag", 1.0)
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    with pytest.raises(ConfigurationError, match="apart from the bags"):
        replay(request_of("bag", out=out, overwrite=True))
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


def test_the_file_of_an_earlier_replay_can_be_replayed_but_not_overwritten(request_of, tmp_path: Path):
    record(tmp_path / "bag", 1.0)
    replay(request_of("bag", messages="all"))
    with pytest.raises(ConfigurationError, match="apart from the bags"):
        replay(request_of("out/replay.mcap", overwrite=True))
    assert replay(request_of("out/replay.mcap", out="again")).result.status == "complete"


def test_nothing_is_removed_where_the_policy_is_missing(request_of, tmp_path: Path):
    record(tmp_path / "bag", 1.0)
    replay(request_of("bag"))
    with pytest.raises(Exception, match="nowhere"):
        replay(request_of("bag", policy=PolicySource(str(tmp_path / "nowhere")), overwrite=True))
    assert (tmp_path / "out/metrics.json").exists()


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("threads", -1)])
def test_counts_below_one_are_refused(request_of, name: str, value: int):
    with pytest.raises(ConfigurationError, match=f"--{name}: expected at least 1, got {value}"):
        request_of("bag", **{name: value})


def test_many_latencies_are_thinned_without_changing_their_distribution():
    jobs = [JobResult(BagResult("bag"), BagRun(1.0, tuple(index * 1e-6 for index in range(30_000))))]
    record_ = run_record(jobs, 2.0, backend="processes", workers=1, threads=1)
    samples = record_["inference_latencies_s"]
    assert len(samples) == 10_000 and (samples[0], samples[-1]) == (0.0, 0.029999)
    assert sum(samples) / len(samples) == pytest.approx(0.015, rel=1e-3)
    assert record_["inference_s"]["count"] == 30_000


def test_lists_of_numbers_are_on_one_line_and_everything_reads_back(tmp_path: Path):
    content = {
        "numbers": [1.5, None, -2],
        "texts": ["a [\\n 1 ]", 'quoted "x", [y]'],
        "nested": [[1, 2], [], [{"a": [3, 4]}]],
        "none": [],
    }
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text()
    assert json.loads(text) == content
    assert '"numbers": [1.5, null, -2],' in text and "[1, 2]" in text and '"a": [3, 4]' in text
