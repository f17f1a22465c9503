# SPDX-License-Identifier: Apache-2.0
"""The page of a replay: what stands on it, that it is whole in itself, and that no text becomes markup."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.replay_reports import NASTY, collected, made_up_report, result_of
from support.replay_traces import make_trace, make_traces

from policy_ros.errors import ConfigurationError
from policy_ros.replay.report import ReportMaterial, require_report_libraries, write_report
from policy_ros.replay.report.contents import page_of
from policy_ros.replay.report.histogram import histogram
from policy_ros.replay.report.page import Page
from policy_ros.replay.report.texts import duration, number, plural, share
from policy_ros.replay.result import BagResult
from policy_ros.replay.trace import EpisodeTrace, PictureTrace

pytest.importorskip("plotly", reason="the extra 'report' is not installed")
pytest.importorskip("jinja2", reason="the extra 'report' is not installed")

BIG = 1_000_000  # bytes of a script


class Elements(HTMLParser):
    """Tags with their attributes, and the text between them but for scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """What the script of the page draws."""
        return json.loads(self.scripts[0])


def written(tmp_path: Path, *arguments: Any) -> Elements:
    file = tmp_path / "report.html"
    write_report(file, *arguments)
    return Elements(file.read_text(encoding="utf-8"))


def headline(page: Page, title: str) -> Any:
    (found,) = [each for each in page.numbers if each.title == title]
    return found


def page_for(*traces: Any) -> Page:
    return page_of(result_of(traces), collected(traces))


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path):
    page = written(tmp_path, *made_up_report())
    sources = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert sources
    assert all(value and value.startswith(("data:image/", "#")) for value in sources)
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy or "")
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base"}
    assert "url(" not in (tmp_path / "report.html").read_text().partition("</style>")[0]


def test_no_text_of_a_recording_becomes_markup(tmp_path: Path):
    """Names of bags, joints, cameras and tasks, causes, parameters: whatever a foreign bag has in it."""
    page = written(tmp_path, *made_up_report())
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes or tag == "b"]
    assert NASTY in page.text
    assert len(page.scripts) == 3  # data, plotly.js, the page's own
    assert [len(each) > BIG for each in page.scripts] == [False, True, False]
    assert {hold["detail"] for stretch in page.data["stretches"] for hold in stretch["holds"]} == {NASTY}


def test_the_header_says_what_was_replayed_how(tmp_path: Path):
    text = written(tmp_path, *made_up_report()).text
    for expected in (
        "Replay of pick_act",
        "2 recordings",
        "3 episodes",
        "24.0 s",
        "overlap",
        "120 ms",
        "50 Hz",
        "20 rows",
    ):
        assert expected in text, expected


def test_what_was_not_evaluated_is_said_before_any_number(tmp_path: Path):
    page = written(tmp_path, *made_up_report())
    assert page.text.index("1 of 2 bags could not be evaluated") < page.text.index("Prediction error")
    assert "expected a topic 'camera/top/image_raw', got none" in page.text
    assert next(attributes.get("class") for tag, attributes in page.tags if tag == "section") == "notice bad"


def test_a_whole_replay_has_nothing_red_about_its_bags(tmp_path: Path):
    traces = make_traces(2)
    page = written(tmp_path, result_of(traces), collected(traces))
    assert "The whole bag was evaluated" in page.text
    assert not [attributes for tag, attributes in page.tags if tag == "tr" and attributes.get("class") == "bad"]


def test_a_bag_with_a_flood_of_problems_does_not_bury_the_others():
    traces = make_traces(1)
    result = result_of(traces)
    flooded = replace(result.bags[0], problems=tuple(f"line {i}" for i in range(500)))
    page = page_of(replace(result, bags=(flooded, BagResult("/b", error="/b: no bag"))), collected(traces))
    assert len(page.problems) == 32
    assert page.problems[30].text == "and 470 more lines in metrics.json"
    assert (page.problems[31].subject, page.problems[31].text) == ("b", "no bag")


def test_numbers_come_with_their_intervals():
    traces = [make_trace(index=i, error=error) for i, error in enumerate((0.1, 0.2, 0.3))]
    number_ = headline(page_for(*traces), "Prediction error (MAE)")
    assert (number_.value, number_.unit) == ("0.2", "rad, m")
    assert re.fullmatch(r"95 %: 0\.1\d* to 0\.\d+", number_.interval)
    assert "row 1 0.2, row 10 0.2, row 20 0.2" in number_.note


def test_one_episode_has_no_intervals_and_says_so():
    page = page_for(make_trace(error=0.1))
    assert headline(page, "Prediction error (MAE)").interval == ""
    assert "one episode" in page.numbers_note


def test_holds_are_told_by_cause_and_stand_out():
    holds = headline(page_for(make_trace(hold=(100, 150), starved=(200,)), make_trace(index=1)), "Holds")
    assert holds.bad
    assert holds.value == "2"
    assert "STREAM_EXPIRED 1 (1 s)" in holds.note
    assert "STARVED 1 (0.02 s)" in holds.note
    assert not headline(page_for(make_trace()), "Holds").bad


def test_peaks_are_compared_with_the_recordings_own():
    note = headline(page_for(make_trace(seam=0.2), make_trace(index=1, seam=0.2)), "Peak acceleration").note
    times = re.search(r"at most (\d+) times it, in joint_\d", note)
    assert times
    assert int(times[1]) > 100
    smooth = headline(page_for(make_trace()), "Peak acceleration").note
    assert re.search(r"at most (1|1\.\d+|0\.\d+) times it", smooth), smooth


def test_a_lag_and_exchanged_joints_stand_out():
    lag = headline(page_for(*make_traces(3, lag_s=0.4)), "Lag")
    assert lag.bad
    assert lag.value == "0.4"
    order = headline(page_for(*make_traces(3, swap=(1, 0, 2))), "Lag")
    assert order.bad
    assert "joint order? joint_1 fits joint_2, joint_2 fits joint_1" in order.note
    assert not headline(page_for(*make_traces(3, noise=0.02)), "Lag").bad


def test_pictures_unlike_those_of_the_training_stand_out():
    def traces(top: float, wrist: float) -> list[EpisodeTrace]:
        pictures = tuple(
            PictureTrace(f"observation.images.{name}", 9, np.full(3, mean), np.full(3, trained), np.full(3, 0.1))
            for name, mean, trained in (("top", top, 0.3), ("wrist", wrist, 0.6))
        )
        return [replace(trace, pictures=pictures) for trace in make_traces(2)]

    assert not headline(page_for(*traces(0.31, 0.6)), "Shift of pictures").bad
    dark = headline(page_for(*traces(0.31, 0.2)), "Shift of pictures")
    assert dark.bad
    assert dark.value == "4"
    exchanged = headline(page_for(*traces(0.6, 0.3)), "Shift of pictures")
    assert exchanged.bad
    assert "cameras exchanged? observation.images.top fits observation.images.wrist" in exchanged.note
    assert headline(page_for(make_trace()), "Shift of pictures").value == "–"


def test_every_episode_and_bag_has_a_row_with_sortable_numbers(tmp_path: Path):
    result, material = made_up_report()
    page = page_of(result, material)
    assert [row.cells[1].value for row in page.episodes.rows] == [0, 1, 2]
    (mae,) = [i for i, column in enumerate(page.episodes.columns) if column.title == "MAE"]
    for row, episode in zip(page.episodes.rows, result.episodes, strict=True):
        sums = episode.prediction.by_row
        assert row.cells[mae].value == pytest.approx(sum(sums.absolute) / sum(sums.count), rel=1e-5)
    assert [(row.cells[1].text, row.bad) for row in page.bags.rows] == [("complete", False), ("failed", True)]
    cells = [
        a["data-value"] for tag, a in written(tmp_path, result, material).tags if tag == "td" and "data-value" in a
    ]
    assert all(value == "" or float(value) is not None for value in map(str, cells))


def test_the_drawn_arrays_are_those_of_the_stretch():
    trace = make_trace(error=0.05, clamped=[(7, 1)], hold=(100, 120))
    page = page_for(trace)
    (shown,) = page.stretches
    arrays = {
        name: np.frombuffer(base64.b64decode(shown.data[name]), dtype)
        for name, dtype in (
            ("times", "<f4"),
            ("commands", "<f4"),
            ("recorded", "<f4"),
            ("clamped", "u1"),
            ("seams", "<i4"),
        )
    }
    np.testing.assert_allclose(arrays["times"], 0.02 * np.arange(400), atol=1e-5)
    np.testing.assert_allclose(arrays["commands"].reshape(400, 3), trace.ticks.commands, rtol=1e-6)
    np.testing.assert_allclose(arrays["recorded"].reshape(400, 3), trace.ticks.recorded, rtol=1e-6)
    assert arrays["clamped"].reshape(400, 3).nonzero() == (np.array([7]), np.array([1]))
    assert 10 in arrays["seams"]
    assert "furthest from the recording, longest on hold" in shown.label


def test_what_is_left_out_of_a_plot_is_said():
    long = page_for(make_trace(ticks=3000, joints=40))
    assert re.search(r"Drawn are 13\.\d s of 60\.0 s, around the worst moment", long.stretches[0].data["note"])
    dense = page_for(make_trace(ticks=600, joints=6, horizon=50, execution_horizon=1))
    assert re.search(r"Drawn are \d+ of 600 chunks", dense.stretches[0].data["note"])


def test_worst_moments_name_camera_time_error_and_plot():
    page = page_of(*made_up_report())
    errors = [float(moment.error) for moment in page.moments]
    assert errors == sorted(errors, reverse=True)
    first = page.moments[0]
    assert re.fullmatch(r".* episode \d, \d\.\d\d s", first.when)
    assert 0 <= first.stretch < len(page.stretches)
    assert page.stretches[first.stretch].data["worst"]["at"] == pytest.approx(float(first.when.split()[-2]), abs=0.01)
    assert [picture.source[:22] for picture in first.pictures] == ["data:image/png;base64,"] * 2


def test_the_curve_over_the_horizon_has_every_joint_and_an_interval():
    horizon = page_for(*[make_trace(index=i, error=[0.1, 0.2, 0.3 + 0.1 * i]) for i in range(3)]).horizon
    assert horizon is not None
    assert [line["name"] for line in horizon["lines"]] == ["all joints", "joint_1", "joint_2", "joint_3"]
    assert horizon["seconds"][:2] == [0.02, 0.04]
    np.testing.assert_allclose(horizon["lines"][2]["mean"], 0.2, atol=1e-6)
    last = horizon["lines"][3]
    assert all(low < 0.4 < high for low, high in zip(last["low"], last["high"], strict=True))


def test_a_recording_without_commands_gets_a_page_without_errors(tmp_path: Path):
    traces = make_traces(2, has_commands=False)
    page = written(tmp_path, result_of(traces), collected(traces))
    assert "2 episodes without recorded commands" in page.text
    assert "no chunk could be compared" in page.text
    assert page.data["horizon"] is None
    assert page.data["alignment"] is None
    assert page.data["stretches"]


def test_a_replay_in_which_every_bag_failed_gets_a_page_that_says_so(tmp_path: Path):
    result = replace(result_of([]), bags=(BagResult("/recordings/broken", error="/recordings/broken: cut off"),))
    page = written(tmp_path, result, ReportMaterial())
    assert "The bag could not be evaluated" in page.text
    assert "cut off" in page.text
    assert "no episode was replayed" in page.text
    assert page.data == {"stretches": [], "horizon": None, "alignment": None, "histograms": []}


def test_the_page_is_not_much_larger_than_plotly(tmp_path: Path):
    traces = make_traces(12, joints=14, ticks=3000, horizon=100, execution_horizon=25, noise=0.01, hold=(100, 200))
    file = tmp_path / "report.html"
    write_report(file, result_of(traces), collected(traces))
    plotly = max(len(each) for each in Elements(file.read_text()).scripts)
    assert file.stat().st_size - plotly < 10_000_000


@pytest.mark.parametrize("library", ["plotly.offline", "jinja2"])
def test_a_missing_library_is_named_with_what_to_install(library: str, monkeypatch: pytest.MonkeyPatch):
    package = library.partition(".")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"'{package}'.*pip install 'policy_ros\[report\]'.*--no-report"):
        require_report_libraries()


def test_bins_are_round_and_hold_every_value():
    values, counts = [0.0199, 0.0201, 0.034, 0.0812], [5, 1, 2, 1]
    made = histogram(values, counts)
    assert made.width == pytest.approx(0.001)
    assert sum(made.counts) == 9
    assert made.counts[made.centres.index(min(made.centres, key=lambda each: abs(each - 0.02)))] == 6


def test_a_histogram_of_equal_values_is_one_bin():
    made = histogram([0.12], [250])
    assert made.counts == (250,)
    assert made.centres == (pytest.approx(0.12),)
    assert histogram([0.0], [3]).counts == (3,)
    assert histogram([4.0, 5.0], [1, 1], at_least=1.0).width == 1.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (1234.5, "1234"), (2.0, "2"), (0.0, "0"), (-0.5, "-0.5"), (None, "–"), (3e-9, "3.00e-09")],
)
def test_numbers_are_short(value: float | None, text: str):
    assert number(value) == text


def test_shares_are_never_rounded_to_all_or_nothing():
    assert [share(value) for value in (1.0, 0.99999, 0.5, 0.00001, 0.0, None)] == [
        "100 %",
        "> 99.9 %",
        "50 %",
        "< 0.1 %",
        "0 %",
        "–",
    ]


def test_durations_and_counts_read_well():
    assert [duration(each) for each in (3.21, 245.0, 7380.0)] == ["3.2 s", "4 min 05 s", "2 h 03 min"]
    assert [plural(each, "bag") for each in (0, 1, 2)] == ["0 bags", "1 bag", "2 bags"]
