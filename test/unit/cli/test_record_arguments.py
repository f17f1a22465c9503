# SPDX-License-Identifier: Apache-2.0
"""What ``policy-ros record`` refuses before anything starts."""

from __future__ import annotations

import pytest

from policy_ros.cli.main import main

WHAT = ["record", "--params-file", "robot.yaml", "--out", "bag"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "-1"], "--episodes: expected 0 or more, got -1"),
        (["--split-mb", "-0.5"], "--split-mb: expected 0 or more, got -0.5"),
        (["--continuous", "--episodes", "3"], "--episodes: a continuous recording knows none"),
    ],
)
def test_impossible_arguments_are_one_line(capsys, arguments, message):
    assert main([*WHAT, *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"policy-ros record: {message}") and told.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [WHAT[:3], [*WHAT, "--manual", "--continuous"], [*WHAT, "--storage", "rosbag1"], ["record"]]
)
def test_arguments_that_do_not_go_together_are_a_usage_error(arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
