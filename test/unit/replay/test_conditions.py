# SPDX-License-Identifier: Apache-2.0
"""--fail-if: what is understood, what is refused, and when a condition holds."""

from __future__ import annotations

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.replay.metrics import Value, failures, parse_condition

VALUES = {
    "mae": Value(0.05, 0.04, 0.06, "rad, m", 100),
    "mae@10": Value(0.2, 0.1, 0.3, "rad, m", 10),
    "mae.arm/joint-1": Value(0.5, None, None, "rad, m", 10),
    "latency.max": Value(0.12, None, None, "s", 3),
    "lag": Value(-0.5, -0.6, -0.4, "s", 10),
    "rmse": Value(None, None, None, "rad, m", 0),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("mae > 0.05", False),
        ("mae >= 0.05", True),
        ("mae<=0.05", True),
        ("mae < 5e-2", False),
        ("  mae@10>.1 ", True),
        ("mae.high > 0.055", True),
        ("mae.low > 0.045", False),
        ("latency.max > 0.1", True),
        ("lag < -0.25", True),
        ("mae.arm/joint-1 > 0.6", False),
    ],
)
def test_a_condition_holds_or_not(text: str, holds: bool):
    assert bool(failures([parse_condition(text)], VALUES)) is holds


@pytest.mark.parametrize(
    "text",
    ["", "mae", "mae > ", "> 0.05", "mae = 0.05", "mae == 0.05", "mae > 0.05 > 1", "0.1 < mae < 0.2", "mae > 1 m"],
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(ConfigurationError, match=r"expected NAME > NUMBER.*e\.g\. 'mae > 0.05'"):
        parse_condition(text)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "abc", "__import__('os')", "1,5"])
def test_the_limit_must_be_a_finite_number(number: str):
    with pytest.raises(ConfigurationError, match="expected a finite number"):
        parse_condition(f"mae > {number}")


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(ConfigurationError, match="did you mean 'mae@10'"):
        parse_condition("mae@19 > 1").require_known(VALUES)
    with pytest.raises(ConfigurationError, match=r"'mae\.upper'"):
        failures([parse_condition("mae.upper > 1")], VALUES)
    parse_condition("mae.low > 1").require_known(VALUES)


@pytest.mark.parametrize("text", ["rmse > 1000", "rmse < 1000", "rmse.high > 1000", "latency.max.high > 1000"])
def test_what_does_not_exist_counts_as_failed_and_says_so(text: str):
    (line,) = failures([parse_condition(text)], VALUES)
    assert "has no" in line and "counts as failed" in line


def test_a_line_says_what_was_measured():
    assert failures([parse_condition("mae.high > 0.055")], VALUES) == ["mae.high > 0.055: mae.high is 0.06 rad, m"]
