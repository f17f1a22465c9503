# SPDX-License-Identifier: Apache-2.0
"""How well something keeps the control period beside other work in the same process."""

from __future__ import annotations

import itertools
import logging
import math
import random
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from policy_ros.errors import ConfigurationError
from policy_ros.execution import Clock, Pacer, RealtimeThreads, SteadyClock

SLICE_S = 2.0  # conditions take turns this often, so that the machine's moods hit all of them
SETTLE_S = 0.3  # left out at the beginning of every slice
_STOP_S = 2.0
_LOG = logging.getLogger(__name__)


class Pacing(Protocol):
    """Something that calls back once per period."""

    name: str

    def start(self, period_s: float, callback: Callable[[], None]) -> int:
        """Begin; the system's id of the thread that calls back."""
        ...

    def stop(self) -> None:
        """End; the callback does not run any more."""
        ...


class Load(Protocol):
    """Other work in the same process."""

    name: str

    def start(self) -> None:
        """Begin; returns when the work is under way."""
        ...

    def tick(self) -> None:
        """What the control tick does for it. Must not raise."""
        ...

    def stop(self) -> dict[str, float]:
        """End; what there is to say about this turn."""
        ...


class ThreadPacing:
    """A thread of its own: the :class:`~policy_ros.execution.Pacer` that the node uses."""

    name = "thread"

    def __init__(self) -> None:
        self._pacer: Pacer | None = None

    def start(self, period_s: float, callback: Callable[[], None]) -> int:
        """Begin; the system's id of the control thread."""
        self._pacer = Pacer(period_s, callback, SteadyClock(), on_error=_report)
        self._pacer.start()
        assert self._pacer.thread_id is not None  # it was started
        return self._pacer.thread_id

    def stop(self) -> None:
        """End the control thread."""
        if self._pacer is not None:
            self._pacer.stop(_STOP_S)


def _report(error: Exception) -> None:
    _LOG.error("what is paced failed", exc_info=error)


@dataclass(frozen=True)
class Condition:
    """What is measured: a pacing beside a load, with real-time priority or without (0)."""

    load: str
    realtime_priority: int
    pacing: str


@dataclass(frozen=True)
class Periods:
    """Periods as multiples of the nominal one.

    Attributes:
        count: periods measured.
        p50: median.
        p99: 99th percentile.
        longest: the longest.
        sd: standard deviation.
        missed: calls that did not come at all, seen as gaps.
    """

    count: int
    p50: float
    p99: float
    longest: float
    sd: float
    missed: int

    @classmethod
    def of(cls, turns: Sequence[Sequence[int]], period_s: float) -> Periods:
        """From the times of the calls [ns], a sequence for each turn; between turns there is no period.

        Raises:
            ConfigurationError: no turn has two calls.
        """
        ratios = np.concatenate([np.diff(np.asarray(times, dtype=np.int64)) for times in turns]) / (period_s * 1e9)
        if ratios.size == 0:
            raise ConfigurationError("expected at least two calls in a turn, got less; measure for longer")
        p50, p99 = np.percentile(ratios, (50.0, 99.0))
        missed = int(np.sum(np.maximum(np.rint(ratios) - 1, 0)))
        return cls(int(ratios.size), float(p50), float(p99), float(np.max(ratios)), float(np.std(ratios)), missed)


@dataclass(frozen=True)
class Result:
    """One condition: its periods, and means over its turns of what the load says about itself."""

    condition: Condition
    periods: Periods
    load: dict[str, float]


@dataclass(frozen=True)
class Turn:
    """Times of the calls [ns] in one slice, and what the load said about itself."""

    times: list[int]
    load: dict[str, float]


def measure(
    pacings: Sequence[Pacing],
    loads: Sequence[Load],
    *,
    rate_hz: float,
    seconds: float,
    priorities: Sequence[int] = (0,),
    report: Callable[[str], None] = lambda line: None,
    seed: int = 0,
    clock: Clock | None = None,
) -> list[Result]:
    """Measure every pacing beside every load with every priority, in turns of at most :data:`SLICE_S`, in random order.

    Args:
        pacings: what calls back.
        loads: what runs beside it.
        rate_hz: nominal rate [Hz].
        seconds: measured for each condition [s], rounded up to whole turns.
        priorities: real-time priorities of the thread that calls back; 0: none.
        report: receives a line of progress for every round.
        seed: of the order.
        clock: measures; None: the steady clock.

    Raises:
        ConfigurationError: rate or duration are not positive.
        RealtimeRefused: the system does not permit a priority.
    """
    if not (rate_hz > 0.0 and seconds > 0.0):
        raise ConfigurationError(f"expected a positive rate and duration, got {rate_hz} Hz and {seconds} s")
    clock = SteadyClock() if clock is None else clock
    order, period_s, slice_s = random.Random(seed), 1.0 / rate_hz, min(seconds, SLICE_S)
    conditions = list(itertools.product(loads, priorities, pacings))
    turns: dict[Condition, list[Turn]] = {_condition(*choice): [] for choice in conditions}
    rounds = math.ceil(seconds / slice_s)
    for number in range(rounds):
        report(f"round {number + 1} of {rounds}: {len(conditions)} conditions of {SETTLE_S + slice_s:g} s")
        for choice in order.sample(conditions, len(conditions)):
            turns[_condition(*choice)].append(_take_turn(*choice, period_s, slice_s, clock))
    return [
        Result(condition, Periods.of([turn.times for turn in taken], period_s), _means(taken))
        for condition, taken in turns.items()
    ]


def _condition(load: Load, priority: int, pacing: Pacing) -> Condition:
    return Condition(load.name, priority, pacing.name)


def _take_turn(load: Load, priority: int, pacing: Pacing, period_s: float, slice_s: float, clock: Clock) -> Turn:
    times: list[int] = []

    def callback() -> None:
        times.append(clock.now_ns())
        load.tick()

    load.start()
    try:
        with _running(pacing, priority, period_s, callback):
            settled_ns = clock.now_ns() + round(SETTLE_S * 1e9)
            clock.wait_until(settled_ns + round(slice_s * 1e9), threading.Event())
    finally:
        said = load.stop()
    return Turn([when_ns for when_ns in times if when_ns >= settled_ns], said)


@contextmanager
def _running(pacing: Pacing, priority: int, period_s: float, callback: Callable[[], None]) -> Iterator[None]:
    realtime = RealtimeThreads(priority)
    try:
        realtime.prioritise([pacing.start(period_s, callback)])
        yield
    finally:
        realtime.release()
        pacing.stop()


def _means(turns: Sequence[Turn]) -> dict[str, float]:
    return {name: statistics.fmean(turn.load[name] for turn in turns) for name in turns[0].load}


def as_dict(result: Result) -> dict[str, Any]:
    """For JSON."""
    return {**vars(result.condition), **vars(result.periods), **result.load}
