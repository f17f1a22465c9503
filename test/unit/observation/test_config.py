# SPDX-License-Identifier: Apache-2.0
"""A configuration that cannot work is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from policy_ros.data import JointScaling
from policy_ros.errors import ConfigurationError
from policy_ros.observation import CameraStream, ObservationConfig, VectorStream

TOP = CameraStream("top", "observation.images.top")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"joints": ()}, "at least one stream"),
        ({"joints": ("a", "a")}, "every name in joints once, got twice: a"),
        ({"cameras": (TOP, CameraStream("top", "other"))}, "every name in cameras once"),
        ({"cameras": (TOP, CameraStream("wrist", TOP.feature))}, "every name in features once"),
        ({"cameras": (CameraStream("top", "observation.state"),)}, "every name in features once"),
        ({"n_obs_steps": 0}, "n_obs_steps >= 1, got 0"),
        ({"max_skew_s": 0.0}, "max_skew_s > 0"),
        ({"joint_max_age_s": float("nan")}, "joint_max_age_s > 0 and finite"),
        ({"dt_s": float("inf")}, "dt_s > 0 and finite"),
        ({"tail_s": -0.1}, "tail_s >= 0"),
        ({"cameras": (CameraStream("top", "x", max_age_s=-1.0),)}, "max_age_s of camera/top > 0"),
        ({"environment_state": VectorStream(0)}, "dim of the environment state > 0"),
        ({"scaling": JointScaling.identity(("b", "a"))}, "expected the joints a, b in this order, got b, a"),
    ],
)
def test_a_value_that_cannot_work_is_refused(fields: dict[str, Any], text: str):
    with pytest.raises(ConfigurationError, match=text) as caught:
        ObservationConfig(**{"joints": ("a", "b"), **fields})
    assert "\n" not in str(caught.value)


def test_rings_reach_back_over_the_history_and_the_age_of_the_slowest_stream():
    config = ObservationConfig(
        joints=("a",), cameras=(CameraStream("top", "x", max_age_s=0.5),), n_obs_steps=3, dt_s=0.1
    )
    assert config.span_s == pytest.approx(0.2 + 0.5 + config.future_tolerance_s)
    assert config.capacity(30.0) == 26
