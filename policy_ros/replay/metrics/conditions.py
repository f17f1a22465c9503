# SPDX-License-Identifier: Apache-2.0
"""Conditions on metrics, as ``--fail-if`` takes them: ``mae > 0.05``, ``mae.high > 0.06``, ``coverage < 0.9``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from policy_ros.errors import ConfigurationError, closest
from policy_ros.replay.metrics.summary import Value

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([^<>=]*[^<>=\s])\s*(>=|<=|>|<)\s*([^<>=\s]+)\s*")
BOUNDS = ("low", "high")


@dataclass(frozen=True)
class Condition:
    """One comparison of a metric, or of a bound of its interval, with a number.

    Attributes:
        name: as written.
        comparison: ``>``, ``>=``, ``<`` or ``<=``.
        limit: finite.
    """

    name: str
    comparison: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.comparison} {self.limit:g}"

    def require_known(self, names: Collection[str]) -> None:
        """Refuse what can never be evaluated.

        Raises:
            ConfigurationError: no metric has this name; it suggests the closest.
        """
        if self.metric(names) is None:
            raise ConfigurationError(
                f"condition '{self}': expected the name of a metric, or one followed by .low or .high, got "
                f"'{self.name}'; {closest(self.name, names)}"
            )

    def metric(self, names: Collection[str]) -> tuple[str, str] | None:
        """The metric's name and which of its numbers: ``value``, ``low`` or ``high``."""
        if self.name in names:
            return self.name, "value"
        stem, _, bound = self.name.rpartition(".")
        return (stem, bound) if bound in BOUNDS and stem in names else None

    def evaluate(self, values: Mapping[str, Value]) -> str | None:
        """One line that says why the condition holds; None if it does not.

        A metric without a value cannot be shown to be within its limit, so its condition holds.

        Raises:
            ConfigurationError: no metric has this name.
        """
        found = self.metric(values)
        if found is None:
            self.require_known(values)
            raise AssertionError("unreachable")
        name, part = found
        value = values[name]
        number: float | None = getattr(value, part)
        if number is None:
            what = "value" if part == "value" else "interval"
            return f"{self}: {name} has no {what} (of {value.count}), which counts as failed"
        if _COMPARISONS[self.comparison](number, self.limit):
            return f"{self}: {self.name} is {number:g} {value.unit}"
        return None


def parse_condition(text: str) -> Condition:
    """``NAME > NUMBER``, with ``>``, ``>=``, ``<`` or ``<=``.

    Raises:
        ConfigurationError: it is anything else.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ConfigurationError(
            f"condition: expected NAME > NUMBER, with >, >=, < or <=, e.g. 'mae > 0.05', got '{text}'"
        )
    name, comparison, number = found.groups()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise ConfigurationError(f"condition '{text}': expected a finite number after {comparison}, got '{number}'")
    return Condition(name, comparison, limit)


def failures(conditions: Sequence[Condition], values: Mapping[str, Value]) -> list[str]:
    """A line for every condition that holds."""
    lines = (condition.evaluate(values) for condition in conditions)
    return [line for line in lines if line is not None]
