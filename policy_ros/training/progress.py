# SPDX-License-Identifier: Apache-2.0
"""The live line of a training, and what it says at the end."""

from __future__ import annotations

import time
from typing import Any, TextIO

from policy_ros.training.run import TrainingResult
from policy_ros.training.supervision import Report, Score

_REFRESH_S = 0.2


class ProgressLine:
    """Rewrites one line on a terminal; elsewhere prints a line for each measurement.

    Args:
        stream: usually stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._next = 0.0

    def __call__(self, report: Report) -> None:
        """After a step."""
        if report.measured or report.step == report.steps:
            self._write(report, end="\n")
        elif self._live and time.monotonic() >= self._next:
            self._next = time.monotonic() + _REFRESH_S
            self._write(report, end="")

    def say(self, text: str) -> None:
        """A line of its own; an empty text is none."""
        if text:
            print(("\r\x1b[K" if self._live else "") + text, file=self._stream, flush=True)

    def _write(self, report: Report, end: str) -> None:
        start = "\r\x1b[K" if self._live else ""
        print(start + describe(report), end=end, file=self._stream, flush=True)


def describe(report: Report) -> str:
    """``step 1200/5000 (24 %)  loss 0.123  validation 0.145  12.3 steps/s  5 min left``."""
    parts = [f"step {report.step}/{report.steps} ({100 * report.step // report.steps} %)", f"loss {report.loss:.4g}"]
    if "loss" in report.validation:
        parts.append(f"validation {report.validation['loss']:.4g}")
    if report.success_rate is not None:
        parts.append(f"success {100 * report.success_rate:.0f} %")
    if report.seconds > 0:
        rate = (report.step - report.first_step) / report.seconds
        parts.append(f"{rate:.3g} steps/s")
        if report.step < report.steps:
            parts.append(f"{duration((report.steps - report.step) / rate)} left")
    return "  ".join(parts)


def summary(result: TrainingResult) -> str:
    """For people."""
    lines = [f"{result.policy}: {result.weights:,} weights, step {result.step} of {result.steps}"]
    if result.newest is not None:
        lines.append(f"  last   {result.out}  {_score(result.newest)}")
    else:
        lines.append(f"  last   {result.out}")
    if result.best is not None:
        lines.append(f"  best   {result.out / 'best'}  {_score(result.best)}")
    lines.append(f"  took   {duration(result.seconds)} from step {result.first_step}")
    if result.signal is not None:
        lines.append(f"stopped by {result.signal.name}; go on: policy-ros train --resume --out {result.out}")
    return "\n".join(lines)


def as_json(result: TrainingResult) -> dict[str, Any]:
    """For programs."""
    return {
        "out": str(result.out),
        "best_checkpoint": None if result.best is None else str(result.out / "best"),
        "policy": result.policy,
        "weights": result.weights,
        "first_step": result.first_step,
        "step": result.step,
        "steps": result.steps,
        "last": None if result.newest is None else vars(result.newest),
        "best": None if result.best is None else vars(result.best),
        "seconds": result.seconds,
        "stopped_by": None if result.signal is None else result.signal.name,
    }


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _score(score: Score) -> str:
    measured = [] if score.loss is None else [f"validation loss {score.loss:.4g}"]
    if score.success_rate is not None:
        measured.append(f"success {100 * score.success_rate:.0f} %")
    return f"step {score.step}: {', '.join(measured)}"
