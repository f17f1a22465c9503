# SPDX-License-Identifier: Apache-2.0
"""What a metric is called, what it is of, and how it is computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from policy_ros.execution import HoldCause
from policy_ros.replay.metrics.estimators import Estimator
from policy_ros.replay.metrics.pool import Pool
from policy_ros.replay.metrics.running import REASONS


class Better(Enum):
    """Which of two values is the better one."""

    SMALLER = "smaller"
    LARGER = "larger"
    NEITHER = "neither"


@dataclass(frozen=True)
class Definition:
    """One metric, or one for every joint, cause or reason.

    Attributes:
        name: dotted; may contain one of ``<joint>``, ``<cause>``, ``<reason>``.
        unit: of the value.
        section: heading in docs/replay-metrics.md that has the formula.
        better: which way.
        counted: what ``Value.count`` counts.
        make: the estimator, of the episodes and of what stands in the name for the placeholder (empty without).
    """

    name: str
    unit: str
    section: str
    better: Better
    counted: str
    make: Callable[[Pool, str], Estimator]

    @property
    def placeholder(self) -> str:
        """What of the name varies, empty if nothing does."""
        found = re.search(r"<\w+>", self.name)
        return found[0] if found else ""

    def expand(self, joint_names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Names, and what stands in each for the placeholder."""
        if not self.placeholder:
            yield self.name, ""
            return
        keys = {"<joint>": joint_names, "<cause>": tuple(HoldCause.__members__), "<reason>": REASONS}[self.placeholder]
        yield from ((self.name.replace(self.placeholder, key), key) for key in keys)
