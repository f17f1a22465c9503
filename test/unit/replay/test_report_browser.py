# SPDX-License-Identifier: Apache-2.0
"""The page of a replay in a real browser: opened as a file, with nothing to reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.replay_reports import made_up_report

from policy_ros.replay.report import write_report

pytest.importorskip("plotly", reason="the extra 'report' is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TIMEOUT_S = 240.0  # of a browser on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome is installed")

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--window-size=1280,2000",
    "--virtual-time-budget=20000",
    "--dump-dom",
)

# Does what a person does, and leaves what came of it in the page.
VISITOR = """
<script>
{
const failures = [];
window.addEventListener("error", (event) => failures.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => failures.push("asked for " + event.blockedURI));
const settled = () => new Promise((done) => setTimeout(done, 300));
const texts = (selector) => Array.from(document.querySelectorAll(selector), (each) => each.textContent);
const column = (number) => texts(`#episodes-table tbody td:nth-child(${number})`);
window.addEventListener("load", async () => {
  const found = { title: document.title, drawn: {} };
  await settled();
  const marks = ".scatterlayer path, .barlayer path, .heatmaplayer image";
  for (const plot of document.querySelectorAll("div.plot")) found.drawn[plot.id] = plot.querySelectorAll(marks).length;
  found.legend = texts("#joints .legendtext");
  found.links = document.querySelectorAll(".modebar a[href], .plotly-cloud-dialog").length;
  found.buttons = Array.from(document.querySelectorAll(".modebar-btn"), (each) => each.dataset.title);
  const sort = document.querySelector("#episodes-table thead th:nth-child(2) button");
  found.before = column(2);
  sort.click();
  found.ascending = column(2);
  sort.click();
  found.descending = column(2);
  found.sorted = sort.parentElement.getAttribute("aria-sort");
  found.first = document.getElementById("joints").layout.xaxis.range;
  document.getElementById("next").click();
  await settled();
  found.selected = document.getElementById("stretch").value;
  const show = document.querySelector("button[data-stretch]");
  show.click();
  await settled();
  found.shown = [show.dataset.stretch, document.getElementById("stretch").value];
  found.range = document.getElementById("joints").layout.xaxis.range;
  found.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  found.images = Array.from(document.images, (image) => image.naturalWidth);
  found.failures = failures;
  document.body.dataset.found = JSON.stringify(found);
});
}
</script>
"""


def browse(file: Path, profile: Path) -> tuple[str, str]:
    """The page after its scripts have run, and what the browser said."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", file.as_uri()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        page, log = browser.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(browser.pid, signal.SIGKILL)
        raise
    assert browser.returncode == 0, log[-4000:]
    return page, log


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What a visitor finds, and the lines of the browser's console."""
    folder = tmp_path_factory.mktemp("report")
    file = folder / "report.html"
    write_report(file, *made_up_report())
    file.write_text(file.read_text(encoding="utf-8").replace("<style>", VISITOR + "<style>", 1), encoding="utf-8")
    page, log = browse(file, folder / "profile")
    found = re.search(r'<body data-found="([^"]*)"', page)
    assert found, f"the visitor did not come to an end: {log[-4000:]}"
    return json.loads(
        found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    ), log


def test_it_opens_without_an_error_and_asks_for_nothing(visit: tuple[dict[str, Any], str]):
    found, log = visit
    assert found["title"] == "Replay of pick_act"
    assert found["failures"] == []
    assert [line for line in log.splitlines() if ":CONSOLE" in line] == []


def test_every_plot_is_drawn(visit: tuple[dict[str, Any], str]):
    drawn = visit[0]["drawn"]
    assert set(drawn) == {
        "joints",
        "horizon",
        "lag",
        "cross",
        *(f"histogram-{name}" for name in ("delay", "latency", "age", "skew")),
    }
    assert all(drawn.values()), drawn


def test_the_joints_plot_tells_its_lines_apart(visit: tuple[dict[str, Any], str]):
    legend = visit[0]["legend"]
    assert {"predicted chunks", "recorded command", "command in the replay", "measured position"} <= set(legend)
    assert len(legend) == len(set(legend))


def test_no_button_sends_anything_away(visit: tuple[dict[str, Any], str]):
    assert visit[0]["buttons"]
    assert not [title for title in visit[0]["buttons"] if re.search("cloud|share|studio|edit", title or "", re.I)]
    assert visit[0]["links"] == 0


def test_a_table_sorts_both_ways(visit: tuple[dict[str, Any], str]):
    found = visit[0]
    assert found["ascending"] == ["0", "1", "2"]
    assert found["descending"] == ["2", "1", "0"]
    assert found["sorted"] == "descending"


def test_the_next_episode_and_a_worst_moment_can_be_shown(visit: tuple[dict[str, Any], str]):
    found = visit[0]
    assert found["selected"] == "1"
    assert found["shown"][0] == found["shown"][1]
    first, shown = found["first"], found["range"]
    assert shown[1] - shown[0] < 0.5 * (first[1] - first[0])


def test_pictures_are_shown_and_nothing_is_wider_than_the_window(visit: tuple[dict[str, Any], str]):
    found = visit[0]
    assert found["images"]
    assert all(width == 32 for width in found["images"])
    assert not found["wide"]
