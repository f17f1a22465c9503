# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate_hz", 0.0),
        ("rate_hz", float("nan")),
        ("rate_hz", float("inf")),
        ("execution_horizon", -1),
        ("lookahead_steps", 0),
        ("max_consecutive_errors", 0),
        ("inference_timeout_s", 0.0),
    ],
)
def test_values_out_of_range_name_the_parameter_and_what_was_expected(field: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"execution\.{field}: expected .*, got {value}"):
        ExecutionConfig(**{field: value})


def test_period_is_the_inverse_of_the_rate() -> None:
    assert ExecutionConfig(rate_hz=50.0).period_s == pytest.approx(0.02)
