# SPDX-License-Identifier: Apache-2.0
"""How long an inference lasts on the clock of a replay: as told, as here, or as it did on another computer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from policy_ros.bags import BagError, MalformedMessage, open_bag
from policy_ros.errors import ConfigurationError

LATENCIES_KEY = "inference_latencies_s"  # in run.json: a list of what each inference took [s]
STATUS_TYPE = "policy_ros/msg/PolicyStatus"

_UNITS = {"ms": 1e-3, "s": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)")


class DelayKind(str, Enum):
    """Where durations come from."""

    FIXED = "fixed"
    MEASURED = "measured"
    DRAWN = "drawn"


@dataclass(frozen=True)
class DelayOptions:
    """How long inferences last.

    Attributes:
        kind: ``FIXED``: all as long; ``MEASURED``: as long as they take here, which is never the same twice; ``DRAWN``:
            drawn with replacement from ``samples_s``.
        fixed_s: of a fixed delay [s].
        samples_s: recorded durations [s].
        source: where these are from.
    """

    kind: DelayKind = DelayKind.FIXED
    fixed_s: float = 0.0
    samples_s: tuple[float, ...] = ()
    source: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether two replays give the same."""
        return self.kind is not DelayKind.MEASURED

    def describe(self) -> str:
        """In a few words."""
        if self.kind is DelayKind.FIXED:
            return f"{1e3 * self.fixed_s:g} ms"
        if self.kind is DelayKind.MEASURED:
            return "as measured here"
        low, middle, high = 1e3 * np.quantile(self.samples_s, (0.0, 0.5, 1.0))
        return f"drawn from {len(self.samples_s)} of {self.source}: {low:.3g} to {high:.3g} ms, median {middle:.3g} ms"

    def durations(self, generator: np.random.Generator) -> Callable[[float], int]:
        """Duration of the next inference [ns], from what it took here [s]."""
        if self.kind is DelayKind.FIXED:
            fixed_ns = round(self.fixed_s * 1e9)
            return lambda _: fixed_ns
        if self.kind is DelayKind.MEASURED:
            return lambda compute_s: round(compute_s * 1e9)
        samples = np.asarray(self.samples_s)
        return lambda _: round(float(generator.choice(samples)) * 1e9)


def parse_delay(text: str) -> DelayOptions:
    """``120ms``, ``0.12s``, ``measured``, or a file: a ``run.json`` of a replay, or a bag with the node's status.

    Raises:
        ConfigurationError: none of these, or a file without durations.
    """
    if text == DelayKind.MEASURED.value:
        return DelayOptions(DelayKind.MEASURED)
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        return DelayOptions(DelayKind.FIXED, fixed_s=float(duration[1]) * _UNITS[duration[2]])
    path = Path(text)
    if not text or not path.exists():
        raise ConfigurationError(
            f"delay: expected a duration such as 120ms, 'measured', or the path of a run.json or of a bag, got '{text}'"
        )
    samples = _of_run(path) if path.suffix == ".json" else _of_bag(path)
    return DelayOptions(DelayKind.DRAWN, samples_s=tuple(samples), source=path.name)


def _of_run(path: Path) -> list[float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"delay: {path}: expected a run.json of a replay, got {error}") from error
    samples = content.get(LATENCIES_KEY) if isinstance(content, dict) else None
    if not isinstance(samples, list) or not samples or not all(_is_duration(each) for each in samples):
        raise ConfigurationError(f"delay: {path}: expected a list of durations [s] under '{LATENCIES_KEY}', got none")
    return [float(each) for each in samples]


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= 0.0
    )


def _of_bag(path: Path) -> list[float]:
    """What the node measured on the robot: its status names the newest latency, once or more for each chunk."""
    try:
        bag = open_bag(path)
    except BagError as error:
        raise ConfigurationError(f"delay: {error}") from error
    topics = [topic.name for topic in bag.topics.values() if topic.type == STATUS_TYPE]
    if len(topics) != 1:
        raise ConfigurationError(
            f"delay: {path}: expected one topic of type {STATUS_TYPE}, got {', '.join(topics) or 'none'}"
        )
    samples, chunks = [], 0
    for message in bag.messages(topics):
        try:
            status = bag.deserialize(message)
        except MalformedMessage:
            continue  # one less
        if status.chunks not in (0, chunks) and _is_duration(status.inference_latency):
            samples.append(float(status.inference_latency))
        chunks = status.chunks
    if not samples:
        raise ConfigurationError(f"delay: {path}: topic '{topics[0]}': expected latencies of inferences, got none")
    return samples
