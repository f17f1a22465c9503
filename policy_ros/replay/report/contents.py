# SPDX-License-Identifier: Apache-2.0
"""From what came of a replay to what stands on the page."""

from __future__ import annotations

import json
from pathlib import Path

from policy_ros.replay.metrics import Summary
from policy_ros.replay.report.drawing import alignment, histograms, horizon_curves, shown_moments, shown_stretch
from policy_ros.replay.report.headlines import headlines, joints_table
from policy_ros.replay.report.material import ReportMaterial
from policy_ros.replay.report.page import Page, Table, render
from policy_ros.replay.report.selection import drawn
from policy_ros.replay.report.tables import bags_table, episodes_table, problems, problems_title
from policy_ros.replay.report.texts import duration, plural
from policy_ros.replay.result import ReplayResult

_SHOWN_BAGS = 5


def write_report(path: Path, result: ReplayResult, material: ReportMaterial) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: of the HTML file; an old one is replaced.
        result: all numbers.
        material: of the same bags, all that is drawn.

    Raises:
        ConfigurationError: a library of the extra ``report`` is not installed.
        OSError: the file cannot be written.
    """
    path.write_text(render(page_of(result, material)), encoding="utf-8")


def page_of(result: ReplayResult, material: ReportMaterial) -> Page:
    """Everything on the page."""
    summary, found = result.summary, drawn(material.picks)
    episodes, episodes_note = episodes_table(result)
    shown = [shown_stretch(stretch, reasons) for stretch, reasons in found]
    without = sum(not episode.has_commands for episode in result.episodes)
    return Page(
        title=f"Replay of {Path(result.policy['path']).name}",
        lead=_lead(result),
        facts=_facts(result),
        problems_title=problems_title(result),
        problems=problems(result),
        problems_note=f"{plural(without, 'episode')} without recorded commands: nothing to compare with."
        if without
        else "",
        numbers=[] if summary is None else headlines(summary),
        numbers_note=_numbers_note(summary),
        joints=Table((), ()) if summary is None else joints_table(summary),
        stretches=shown,
        stretches_note=_stretches_note(len(shown), len(result.episodes)),
        moments=shown_moments([stretch for stretch, _ in found]),
        horizon=None if material.horizon is None or summary is None else horizon_curves(material.horizon, summary.dt_s),
        horizon_note=_HORIZON_NOTE,
        alignment=alignment(result),
        alignment_note=_ALIGNMENT_NOTE,
        histograms=histograms(result.episodes),
        timing_note=_timing_note(result),
        episodes=episodes,
        episodes_note=f"Press a column's title to sort by it. {episodes_note}".strip(),
        bags=bags_table(result),
        parameters=json.dumps(result.options.get("parameters", {}), indent=2, ensure_ascii=False),
        definitions_note="What every number means, with its formula: docs/replay-metrics.md. "
        "All of them: metrics.json beside this page; times of this computer: run.json.",
    )


_HORIZON_NOTE = (
    "How far a row of a chunk is from the command recorded for its time, over the time since the observation. The band "
    "is the 95 % interval over episodes. A click on the name of a joint shows it."
)
_ALIGNMENT_NOTE = (
    "Left: the error if the recording is shifted in time. A minimum far from 0 points at clocks, stamps or a delay in "
    "the data that the policy was trained on. Right: the error of each predicted joint against the recording of each "
    "joint. Where a column is lightest away from the diagonal, joints may be in a wrong order."
)


def _lead(result: ReplayResult) -> str:
    seconds = sum((each.stop_ns - each.start_ns) * 1e-9 for each in result.episodes)
    return (
        f"What the policy would have commanded on {plural(len(result.bags), 'recording')}: "
        f"{plural(len(result.episodes), 'episode')}, {duration(seconds)}. It never moved anything: the recorded robot "
        "went its own way, so errors are those of predictions on what the robot saw then."
    )


def _facts(result: ReplayResult) -> list[tuple[str, str]]:
    options, summary = result.options, result.summary
    names = [bag.path for bag in result.bags]
    listed = ", ".join(names[:_SHOWN_BAGS])
    if len(names) > _SHOWN_BAGS:
        listed += f" and {len(names) - _SHOWN_BAGS} more, below"
    parameters = options.get("parameters", {})
    facts = [
        ("policy", result.policy["path"]),
        ("type", result.policy["type"]),
        (plural(len(names), "bag").partition(" ")[2], listed),
        ("mode", _mode(str(options["mode"]), summary)),
        ("delay of inferences", str(options["delay"])),
        ("seed", str(options["seed"])),
        ("compared with", str(options.get("action_topic") or "the recorded commands")),
    ]
    if summary is not None and summary.episodes:
        facts += [
            ("control rate", f"{1.0 / summary.dt_s:g} Hz"),
            ("chunk", f"{summary.horizon} rows, {summary.horizon * summary.dt_s:g} s"),
            ("joints", ", ".join(summary.joint_names)),
        ]
    gate = {name.removeprefix("gate."): value for name, value in parameters.items() if name.startswith("gate.")}
    facts.append(("gate", ", ".join(f"{name} {value}" for name, value in gate.items()) or "as by default"))
    if options.get("namespace") not in (None, "", "/"):
        facts.append(("namespace", str(options["namespace"])))
    if options.get("reset_after_s") is not None:
        facts.append(("reset of holds", f"after {options['reset_after_s']:g} s"))
    return facts


def _mode(mode: str, summary: Summary | None) -> str:
    """The chosen mode, and what acted where that is something else."""
    acted = {} if summary is None else dict(summary.modes)
    if not acted or set(acted) == {mode}:
        return mode
    return f"{mode}; acted: " + ", ".join(f"{name} in {plural(count, 'chunk')}" for name, count in acted.items())


def _numbers_note(summary: Summary | None) -> str:
    if summary is None or not summary.episodes:
        return "None: no episode was evaluated."
    if summary.episodes == 1:
        return "Of one episode: there are no intervals, which would tell what another episode might bring."
    return (
        f"Intervals are bootstrapped over {summary.episodes} episodes, 95 %. Extremes have none. What is to be looked "
        "into before anything moves is red."
    )


def _stretches_note(shown: int, episodes: int) -> str:
    return (
        f"{plural(shown, 'telling part')} of {plural(episodes, 'episode')}, up to 60 s each, with every control tick. "
        "Commands are drawn at the time for which they are, one period after their tick. Drag to zoom, double-click to "
        "zoom out, click on a name in the legend to hide it."
    )


def _timing_note(result: ReplayResult) -> str:
    return (
        f"Delay of inferences: {result.options['delay']}, on the clock of the replay. Delays are those of chunks that "
        "took over from another."
    )
