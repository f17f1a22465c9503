# SPDX-License-Identifier: Apache-2.0
"""The numbers at the top of the page and those of every joint, from the summary of a replay."""

from __future__ import annotations

from collections.abc import Iterable

from policy_ros.replay.metrics import Summary, SuspectedOrder
from policy_ros.replay.report.page import Cell, Column, Number, Row, Table
from policy_ros.replay.report.texts import NONE, number, plural, share

_SUSPICIOUS_GAIN = 0.3  # share of the error that goes with a shift in time
_SUSPICIOUS_SHIFT = 1.0  # of pictures [deviations of single pixels]


def headlines(summary: Summary) -> list[Number]:
    """In the order in which somebody who decides wants to know them."""
    return [
        *_errors(summary),
        _seams(summary),
        _peak(summary, "acceleration", "Peak acceleration"),
        _peak(summary, "jerk", "Peak jerk"),
        _holds(summary),
        _gate(summary),
        _misses(summary),
        _coverage(summary),
        _delay(summary),
        _observations(summary),
        _chunks(summary),
        _alignment(summary),
        _pictures(summary),
    ]


def joints_table(summary: Summary) -> Table:
    """A row for each joint."""
    columns = (
        Column("joint", text=True),
        Column("MAE", note="mean absolute error of predicted rows"),
        Column("95 % interval", text=True, note="of the MAE, over episodes"),
        Column("RMSE"),
        Column("row 1", note="MAE of the first row of a chunk"),
        Column("row 10", note="MAE"),
        Column(f"row {summary.horizon}", note="MAE of the last row"),
        Column("executed MAE", note="of the commands behind the gate"),
        Column("seam jump", note="the largest"),
        Column("peak accel.", note="acceleration of the commands behind the gate"),
        Column("in the recording", note="peak acceleration of the recorded commands"),
        Column("peak jerk"),
        Column("in the recording", note="peak jerk of the recorded commands"),
        Column("clamped", note="commands of this joint that the gate changed"),
    )
    return Table(columns, tuple(_joint(summary, joint) for joint in summary.joint_names))


def _joint(summary: Summary, joint: str) -> Row:
    names = (
        f"rmse.{joint}",
        f"mae@1.{joint}",
        f"mae@10.{joint}",
        f"mae@H.{joint}",
        f"executed_mae.{joint}",
        f"seam_jump.max.{joint}",
        f"acceleration.peak.{joint}",
        f"recorded_acceleration.peak.{joint}",
        f"jerk.peak.{joint}",
        f"recorded_jerk.peak.{joint}",
        f"gate.clamped.{joint}",
    )
    first = (Cell(joint), _cell(_value(summary, f"mae.{joint}")), Cell(_interval(summary, f"mae.{joint}", label="")))
    return Row((*first, *(_cell(_value(summary, name)) for name in names)))


def _errors(summary: Summary) -> Iterable[Number]:
    rows = [("1", "1"), ("10", "10"), (str(summary.horizon), "H")]
    by_row = ", ".join(
        f"row {label} {number(_value(summary, f'mae@{name}'))}"
        for label, name in rows
        if _value(summary, f"mae@{name}") is not None
    )
    yield _metric(summary, "mae", "Prediction error (MAE)", by_row or "no recorded commands to compare with")
    yield _metric(summary, "rmse", "Prediction error (RMSE)", "over all rows of all chunks; large ones weigh more")
    yield _metric(summary, "executed_mae", "Executed error (MAE)", "commands behind the gate against recorded ones")


def _seams(summary: Summary) -> Number:
    middle, high = number(_value(summary, "seam_jump.p50")), number(_value(summary, "seam_jump.p99"))
    note = f"median {middle}, p99 {high}, of {plural(summary.metrics['seam_jump.p50'].count, 'seam')}"
    return _metric(summary, "seam_jump.max", "Largest jump at a seam", note)


def _peak(summary: Summary, name: str, title: str) -> Number:
    """The largest, and how it compares with what the same joint did in the recording."""
    ratios = []
    for joint in summary.joint_names:
        mine = _value(summary, f"{name}.peak.{joint}")
        recorded = _value(summary, f"recorded_{name}.peak.{joint}")
        if mine is not None and recorded:
            ratios.append((mine / recorded, joint))
    note = f"recording's own {number(_value(summary, f'recorded_{name}.peak'))}"
    if ratios:
        ratio, joint = max(ratios)
        note += f"; at most {number(ratio, 2)} times it, in {joint}"
    return _metric(summary, f"{name}.peak", title, note)


def _holds(summary: Summary) -> Number:
    total = _value(summary, "holds")
    causes = [
        f"{name.removeprefix('holds.')} {number(value.value)} ({number(_value(summary, f'hold_time.{cause}'), 2)} s)"
        for name, value in summary.metrics.items()
        if (cause := name.removeprefix("holds.")) != name and value.value
    ]
    resets = _value(summary, "resets")
    if resets:
        causes.append(f"{plural(int(resets), 'reset')} by the replay")
    note = "; ".join(causes) or "the robot would never have stopped"
    return _metric(summary, "holds", "Holds", note, bad=bool(total))


def _gate(summary: Summary) -> Number:
    rejected = _value(summary, "gate.rejected")
    joints = sorted(
        ((_value(summary, f"gate.clamped.{joint}") or 0.0, joint) for joint in summary.joint_names), reverse=True
    )
    parts = [f"{share(_value(summary, 'gate.clamped_share'))} of the commands"]
    parts += [f"{joint} {number(count)}" for count, joint in joints[:3] if count]
    if rejected:
        parts.append(f"{plural(int(rejected), 'row')} refused")
    return _metric(summary, "gate.clamped", "Changed by the gate", "; ".join(parts), bad=bool(rejected))


def _misses(summary: Summary) -> Number:
    note = "ticks at which a row was due and none was there"
    return _metric(summary, "deadline_misses", "Deadline misses", note, bad=bool(_value(summary, "deadline_misses")))


def _coverage(summary: Summary) -> Number:
    reasons = sorted(
        (
            (value.value, name.removeprefix("without_commands."))
            for name, value in summary.metrics.items()
            if name.startswith("without_commands.") and value.value
        ),
        reverse=True,
    )
    missing = ", ".join(f"{reason} {share(part)}" for part, reason in reasons[:3])
    note = f"of {number(_value(summary, 'duration'), 4)} s had a command" + (f"; without: {missing}" if missing else "")
    return Number(
        "Coverage", share(_value(summary, "coverage")), "", _interval(summary, "coverage", as_share=True), note
    )


def _delay(summary: Summary) -> Number:
    latency = ", ".join(
        f"{label} {number(_milliseconds(_value(summary, f'latency.{name}')))}"
        for label, name in (("median", "p50"), ("p99", "p99"), ("largest", "max"))
    )
    note = f"largest {number(_value(summary, 'delay.max'))} steps; inference {latency} ms"
    return _metric(summary, "delay.mean", "Mean delay", note)


def _observations(summary: Summary) -> Number:
    value = summary.metrics["observation_age.p99"]
    middle, largest = (number(_milliseconds(_value(summary, f"observation_age.{name}"))) for name in ("p50", "max"))
    skew = number(_milliseconds(_value(summary, "skew.p99")))
    return Number(
        "Age of observations, p99",
        number(_milliseconds(value.value)),
        "ms",
        "",
        f"median {middle} ms, largest {largest} ms; skew p99 {skew} ms",
    )


def _chunks(summary: Summary) -> Number:
    parts = [f"{number(_value(summary, 'chunks.executed'))} executed"]
    for name, label in (
        ("chunks.guided", "guided"),
        ("chunks.late", "late"),
        ("chunks.rejected", "rejected"),
        ("inference_errors", "failed inferences"),
        ("not_ready", "times no observation"),
    ):
        if _value(summary, name):
            parts.append(f"{number(_value(summary, name))} {label}")
    parts += [f"{count} degraded: {reason}" for reason, count in summary.degradations.items()]
    bad = any(_value(summary, name) for name in ("chunks.rejected", "inference_errors", "chunks.degraded"))
    return Number("Chunks", number(_value(summary, "chunks"), 6), "", "", "; ".join(parts), bad)


def _alignment(summary: Summary) -> Number:
    """Faults of wiring that an error alone does not name: a lag, exchanged joints."""
    gain, lag = _value(summary, "lag_gain"), _value(summary, "lag")
    suspicious = gain is not None and gain >= _SUSPICIOUS_GAIN and bool(lag)
    if gain is None or not lag:
        note = "predictions fit the recording best as they are"
    else:
        note = f"so far behind the recording predictions fit best, with {share(gain)} less error"
    note += "".join(f"; joint order? {_exchanged(order)}" for order in summary.suspected_joint_order)
    bad = suspicious or bool(summary.suspected_joint_order)
    return Number("Lag", number(lag), "s" if lag is not None else "", _interval(summary, "lag"), note, bad)


def _pictures(summary: Summary) -> Number:
    """Other light, another camera, cameras exchanged."""
    shift = _value(summary, "picture_shift")
    if shift is None:
        note = "the checkpoint does not say which pictures it was trained on"
    else:
        note = "deviations between the mean colour of pictures and that in training, of the worst camera"
    note += "".join(f"; cameras exchanged? {_exchanged(order)}" for order in summary.suspected_camera_order)
    bad = bool(summary.suspected_camera_order) or (shift is not None and shift >= _SUSPICIOUS_SHIFT)
    return Number(
        "Shift of pictures",
        number(shift),
        "std" if shift is not None else "",
        _interval(summary, "picture_shift"),
        note,
        bad,
    )


def _exchanged(order: SuspectedOrder) -> str:
    return ", ".join(f"{one} fits {other}" for one, other in zip(order.predicted, order.fits, strict=True))


def _metric(summary: Summary, name: str, title: str, note: str, *, bad: bool = False) -> Number:
    metric = summary.metrics[name]
    unit = "" if metric.unit == "count" or metric.value is None else metric.unit
    digits = 6 if metric.unit == "count" else 3
    return Number(title, number(metric.value, digits), unit, _interval(summary, name), note, bad)


def _interval(summary: Summary, name: str, *, as_share: bool = False, label: str = "95 %: ") -> str:
    metric = summary.metrics[name]
    if metric.low is None or metric.high is None:
        return NONE if not label else ""
    if label and metric.low == metric.high == metric.value:
        return ""
    text = share if as_share else number
    return f"{label}{text(metric.low)} to {text(metric.high)}"


def _value(summary: Summary, name: str) -> float | None:
    return summary.metrics[name].value


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _cell(value: float | None) -> Cell:
    return Cell(number(value), value)
