# SPDX-License-Identifier: Apache-2.0
"""Values of which percentiles are wanted, of few bytes; those of several episodes add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_ros.replay.metrics.rounding import floats, integers, rounded

DIGITS = 3


@dataclass(frozen=True)
class Distribution:
    """How often each value occurred, values rounded to three significant digits: at most 900 for every factor of ten.

    Attributes:
        values: ascending.
        counts: of each.
        largest: not rounded to three digits; None without values.
    """

    values: tuple[float, ...]
    counts: tuple[int, ...]
    largest: float | None

    @staticmethod
    def of(values: Iterable[float]) -> Distribution:
        """Of finite values."""
        given = [float(value) for value in values]
        found, counts = np.unique([rounded(value, DIGITS) for value in given], return_counts=True)
        return Distribution(floats(found), integers(counts), rounded(max(given)) if given else None)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Distribution:
        """From what ``dataclasses.asdict`` made."""
        return Distribution(tuple(value["values"]), tuple(value["counts"]), value["largest"])
