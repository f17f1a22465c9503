# SPDX-License-Identifier: Apache-2.0
"""A recording of the simulated robot goes by the clock that the robot goes by."""

from __future__ import annotations

import pytest

from policy_ros.cli.main import make_parser
from policy_ros.cli.sim_expert import publishes_clock, robot_values


@pytest.mark.parametrize(
    ("arguments", "simulated"),
    [
        ([], False),
        (["--time-factor", "4"], True),
        (["-p", "publish_clock:=true"], True),
        (["-p", "publish_clock:=true", "-p", "publish_clock:=false"], False),
    ],
)
def test_a_recording_follows_the_robots_clock(arguments, simulated):
    parsed = make_parser().parse_args(["sim", "--expert", *arguments])
    assert publishes_clock(robot_values(parsed)) is simulated
