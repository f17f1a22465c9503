# SPDX-License-Identifier: Apache-2.0
"""Telling two sources of one joint from motion.

A subscription does not say who published a message, so two robots (or a robot and a simulation) on one topic look like
a joint that jumps. What no joint does is to jump between two samples, stay there, jump back to where it was within a
fraction of a second, and do so again and again. That is what is looked for here.
"""

from __future__ import annotations

from dataclasses import dataclass

REPEATS = 3  # excursions, or disagreements between named sources, that make a conflict
RETURN_FRACTION = 0.25  # of the jump: how near a return must come to where it began, and how like the jumps must be
NOISE_FACTOR = 6.0  # a jump must exceed this many times the usual step, so that noise is none
NOISE_SMOOTHING = 0.1  # weight of the newest step in the usual step
MEMORY_NS = 1_000_000_000  # excursions further apart than this do not belong together


@dataclass(frozen=True)
class Conflict:
    """Two values that one joint had at the same time [rad, m], and who said so where that is known."""

    joint: str
    values: tuple[float, float]
    sources: tuple[str, str] | None = None

    def __str__(self) -> str:
        by = f" (from {self.sources[0]} and {self.sources[1]})" if self.sources else ""
        return (
            f"joint '{self.joint}': expected one source, got two that say {self.values[0]:.4f} and "
            f"{self.values[1]:.4f}{by}; stop one of the publishers"
        )


@dataclass(frozen=True)
class _Excursion:
    """A jump that may turn out to be the other source speaking."""

    origin: float
    level: float
    departed_ns: int

    @property
    def gap(self) -> float:
        return self.level - self.origin


class AlternationDetector:
    """Finds A-B-A-B-A-B-A in the samples of one joint; between the jumps each source may speak several times.

    An excursion is a jump by more than the tolerance and, within the window, a jump back to within a quarter of its
    height of where it began. Three like ones in a row, at most a second apart and with no other jump between them, are
    a conflict. A jump is a step far larger than the usual one, so that neither noise nor fast motion consists of jumps.
    Smooth motion is safe while it is sampled five times per period or more: where it is fast enough to look like
    jumps, it jumps on instead of back.

    Args:
        tolerance_rad: smaller jumps are not looked at [rad, m].
        window_s: longest excursion [s].
    """

    def __init__(self, tolerance_rad: float, window_s: float) -> None:
        self._tolerance = tolerance_rad
        self._window_ns = round(window_s * 1e9)
        self._previous: float | None = None
        self._usual_step = 0.0
        self._open: _Excursion | None = None
        self._last_gap = 0.0
        self._last_return_ns = 0
        self._count = 0

    def observe(self, value: float, stamp_ns: int) -> tuple[float, float] | None:
        """Look at the next sample [rad, m]; returns the two values once a conflict is certain."""
        previous, self._previous = self._previous, value
        if previous is None:
            return None
        step = abs(value - previous)
        if step <= self._tolerance or step <= NOISE_FACTOR * self._usual_step:
            self._usual_step += NOISE_SMOOTHING * (step - self._usual_step)
        elif self._open is not None and self._returns(self._open, value, stamp_ns):
            return self._close(self._open, stamp_ns)
        else:
            self._depart(_Excursion(previous, value, stamp_ns))
        return None

    def _returns(self, excursion: _Excursion, value: float, stamp_ns: int) -> bool:
        in_time = stamp_ns - excursion.departed_ns <= self._window_ns
        return in_time and abs(value - excursion.origin) <= RETURN_FRACTION * abs(excursion.gap)

    def _close(self, excursion: _Excursion, stamp_ns: int) -> tuple[float, float] | None:
        self._open = None
        self._count += 1
        self._last_gap, self._last_return_ns = excursion.gap, stamp_ns
        return (excursion.origin, excursion.level) if self._count >= REPEATS else None

    def _depart(self, excursion: _Excursion) -> None:
        alike = abs(excursion.gap - self._last_gap) <= RETURN_FRACTION * abs(self._last_gap)
        recent = excursion.departed_ns - self._last_return_ns <= MEMORY_NS
        if self._open is not None or not (alike and recent):
            self._count = 0
        self._open = excursion


class NamedSourceDetector:
    """Finds two named sources that disagree on one joint three times in a row.

    Args:
        tolerance_rad: smaller differences are agreement [rad, m].
        window_s: samples further apart than this are not compared [s].
    """

    def __init__(self, tolerance_rad: float, window_s: float) -> None:
        self._tolerance = tolerance_rad
        self._window_ns = round(window_s * 1e9)
        self._last: dict[str, tuple[float, int]] = {}
        self._count = 0

    def observe(self, value: float, stamp_ns: int, source: str) -> tuple[tuple[float, float], tuple[str, str]] | None:
        """Look at a source's next sample; returns both values and both sources once a conflict is certain."""
        compared = disagreement = None
        for other, (other_value, other_ns) in self._last.items():
            if other != source and abs(stamp_ns - other_ns) <= self._window_ns:
                compared = other
                if abs(value - other_value) > self._tolerance:
                    disagreement = ((other_value, value), (other, source))
        self._last[source] = (value, stamp_ns)
        if disagreement:
            self._count += 1
        elif compared:
            self._count = 0
        return disagreement if self._count >= REPEATS else None


class JointConflictDetector:
    """Watches one joint: by the names of its sources where they are given, by alternation where they are not."""

    def __init__(self, joint: str, tolerance_rad: float, window_s: float) -> None:
        self._joint = joint
        self._anonymous = AlternationDetector(tolerance_rad, window_s)
        self._named = NamedSourceDetector(tolerance_rad, window_s)
        self.conflict: Conflict | None = None

    def observe(self, value: float, stamp_ns: int, source: str = "") -> None:
        """Look at the next sample; a conflict found stays in ``conflict``."""
        if self.conflict is not None:
            return
        if source:
            named = self._named.observe(value, stamp_ns, source)
            if named is not None:
                self.conflict = Conflict(self._joint, *named)
        else:
            values = self._anonymous.observe(value, stamp_ns)
            if values is not None:
                self.conflict = Conflict(self._joint, values)
