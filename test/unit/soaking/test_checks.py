# SPDX-License-Identifier: Apache-2.0
"""The checks of the soak find what they are there to find, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from soaking.checks import (
    DISCOVERY_S,
    FreshInputs,
    Limits,
    OutputLimits,
    PlausibleStatus,
    SilentAfterFault,
    SilentUnlessActive,
    WithinPlan,
)
from soaking.events import (
    Activating,
    Chunk,
    Command,
    Deactivated,
    FaultBegan,
    FaultEnded,
    RobotStarting,
    Sample,
    Status,
    SwapEnded,
    Swapping,
)

STEP = 0.03


def violations(check, *events) -> list[str]:
    return [line for event in events for line in check.see(event)]


def command(time_s: float, *positions: float, lost: int = 0) -> Command:
    """Rows of one joint."""
    return Command(time_s, "arm", np.array(positions, dtype=np.float64)[:, None], lost)


def joint(time_s: float, position: float) -> Sample:
    return Sample(time_s, "joint_states", {"elbow": position})


def limits() -> Limits:
    one = np.ones(1)
    return Limits({"arm": OutputLimits(("elbow",), -one, one, STEP * one)}, measured_s=1.0)


def test_commands_within_all_limits_pass():
    check = limits()
    events = [joint(0.9, 0.5), Chunk(1.0, 1, 50), command(1.0, 0.5, 0.53), command(1.02, 0.53, 0.53)]
    assert violations(check, *events) == []
    assert check.checked == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_command_that_is_not_finite_is_found_in_any_row(value: float):
    (line,) = violations(limits(), command(1.0, 0.0, value))
    assert "not finite" in line


def test_a_command_without_rows_or_for_too_many_joints_is_found():
    check = limits()
    (empty,) = violations(check, Command(1.0, "arm", np.zeros((0, 1))))
    (wide,) = violations(check, Command(1.0, "arm", np.zeros((2, 3))))
    assert "shape (0, 1)" in empty and "shape (2, 3)" in wide


def test_a_position_beyond_its_limit_is_found():
    (line,) = violations(limits(), command(1.0, 1.01))
    assert "position limits" in line


def test_a_step_within_a_command_that_is_too_large_is_found():
    (line,) = violations(limits(), command(1.0, 0.0, 0.02, 0.06))
    assert "within a command" in line


def test_a_step_from_the_command_before_that_is_too_large_is_found_even_if_it_lies_where_the_joint_is():
    check = limits()
    events = joint(1.0, 0.2), Chunk(1.0, 1, 50), command(1.0, 0.2), joint(1.01, 0.3), command(1.02, 0.3)
    (line,) = violations(check, *events)
    assert "from the command before" in line


def test_lost_commands_allow_as_many_more_steps_and_no_more():
    check = limits()
    first = [Chunk(1.0, 1, 50), command(1.0, 0.0)]
    assert violations(check, *first, command(1.06, 3 * STEP, lost=2)) == []
    (line,) = violations(check, command(1.1, 6.5 * STEP, lost=2))
    assert "2 lost between" in line
    assert check.lost == 4


def test_the_first_command_of_an_epoch_has_to_begin_where_the_joint_was_measured():
    check = limits()
    before = [joint(1.0, 0.0), Chunk(1.0, 1, 50), command(1.0, 0.0)]
    moved = [joint(1.5, 0.4), joint(1.9, 0.5)]
    assert violations(check, *before, *moved, Chunk(2.0, 2, 50), command(2.0, 0.45)) == []
    (line,) = violations(check, Chunk(3.0, 3, 50), command(3.0, 0.6))
    assert "the epoch begins at 0.6000 for elbow" in line


def test_another_policy_may_go_on_from_the_command_before_and_no_further_than_a_step():
    begun = [joint(0.9, 0.5), Chunk(1.0, 1, 50), command(1.0, 0.5), command(1.02, 0.53), command(1.04, 0.56)]
    swapped = [*begun, Swapping(1.05), Chunk(1.06, 2, 50)]
    assert violations(limits(), *swapped, command(1.06, 0.59), SwapEnded(1.1)) == []
    assert violations(limits(), *swapped, command(1.06, 0.6))
    assert violations(limits(), *begun, Swapping(1.05), SwapEnded(1.05), Chunk(1.06, 2, 50), command(1.06, 0.59))
    assert violations(limits(), *swapped, command(1.06, 0.59), command(1.08, 0.63))


def test_measurements_that_are_too_old_do_not_excuse_the_beginning_of_an_epoch():
    check = limits()
    (line,) = violations(check, joint(1.0, 0.0), joint(5.0, 0.5), Chunk(5.0, 1, 50), command(5.0, 0.0))
    assert "measured were 0.5000" in line


def test_a_command_from_an_old_stream_is_found():
    check = FreshInputs({"joint_states": 0.4, "camera/top": 0.8})
    samples = [joint(1.0, 0.0), Sample(0.7, "camera/top")]
    assert violations(check, *samples, command(1.39, 0.0)) == []
    assert "joint_states 0.410 s old" in violations(check, command(1.41, 0.0))[0]
    (line,) = violations(check, joint(1.5, 0.0), command(1.51, 0.0))
    assert "camera/top 0.810 s old" in line


def test_a_robot_that_began_again_is_judged_from_what_the_observer_hears_of_it_but_it_must_hear_of_it():
    fresh = FreshInputs({"joint_states": 0.4})
    heard = [joint(1.0, 0.0), RobotStarting(3.0)]
    assert violations(fresh, *heard, command(5.0, 0.7)) == [], "the node may find the robot first"
    assert "joint_states 0.410 s old" in violations(fresh, joint(6.0, 0.7), command(6.41, 0.7))[0]
    (line,) = violations(fresh, RobotStarting(7.0), command(7.1 + DISCOVERY_S, 0.7))
    assert "has not been seen for 15.1 s" in line
    (line,) = violations(FreshInputs({"joint_states": 0.4}), joint(1.0, 0.0), command(2.0, 0.0), RobotStarting(3.0))
    assert "joint_states 1.000 s old" in line, "before it begins again everything is judged as ever"


def test_the_pose_before_the_robot_began_again_is_not_what_was_measured():
    check = limits()
    start = [joint(2.9, 0.0), RobotStarting(3.0), Chunk(3.5, 2, 50), command(3.5, 0.7)]
    assert violations(check, *start) == []


def test_commands_beyond_the_end_of_the_newest_chunk_are_found():
    check = WithinPlan(extra=1)
    fits = [Chunk(1.0, 1, 2), command(1.0, 0.0), command(1.02, 0.0), command(1.04, 0.0)]
    assert violations(check, *fits) == []
    (line,) = violations(check, command(1.06, 0.0))
    assert "4 commands since the newest chunk, 3 allowed" in line
    assert violations(check, Chunk(2.0, 1, 2), command(2.0, 0.0)) == []


def test_a_command_before_any_chunk_is_found():
    assert len(violations(WithinPlan(extra=0), command(1.0, 0.0))) == 1


def test_a_command_after_a_deactivation_is_found():
    check = SilentUnlessActive()
    assert violations(check, Activating(0.0), command(1.0, 0.0), Deactivated(2.0)) == []
    (line,) = violations(check, command(2.001, 0.0))
    assert "0.001 s after the deactivation" in line
    assert violations(check, Activating(3.0), command(3.1, 0.0)) == []


def test_a_command_after_the_end_of_t_is_found_and_the_latency_of_a_good_hold_is_kept():
    check = SilentAfterFault(slack_s=0.3)
    events = [FaultBegan(1.0, "camera", 0.8), command(1.75, 0.0), FaultEnded(4.0, "camera"), command(4.5, 0.0)]
    assert violations(check, *events) == []
    assert check.worst_s == {"camera": 0.75} and check.lasting == {"camera": 1}
    (line,) = violations(check, FaultBegan(5.0, "camera", 0.8), command(5.5, 0.0), command(6.2, 0.0))
    assert "commanded 0.400 s after T = 0.800 s of 'camera'" in line


def test_a_fault_shorter_than_t_says_nothing_about_latency():
    check = SilentAfterFault(slack_s=0.3)
    assert violations(check, FaultBegan(1.0, "camera", 0.8), command(1.4, 0.0), FaultEnded(1.5, "camera")) == []
    assert check.worst_s == {}


def status(time_s: float, holds: int, cause: str = "", latency_s: float = 0.1) -> Status:
    return Status(time_s, {"holds": holds}, {"inference_latency": latency_s}, cause)


def test_counters_that_go_back_are_found_unless_the_node_was_configured_or_activated_again():
    check = PlausibleStatus()
    assert violations(check, Activating(0.0), status(1.0, 3), Deactivated(2.0), status(2.1, 3), status(2.2, 0)) == []
    assert violations(check, status(2.3, 2), Activating(2.4), status(2.5, 2), status(2.6, 0)) == []
    (line,) = violations(check, status(3.0, 2), status(3.1, 1))
    assert "holds" in line


@pytest.mark.parametrize("latency_s", [-0.1, math.inf])
def test_an_impossible_number_in_a_status_is_found(latency_s: float):
    (line,) = violations(PlausibleStatus(), status(1.0, 0, latency_s=latency_s))
    assert "inference_latency" in line


def test_holds_are_counted_by_cause_over_all_activations():
    check = PlausibleStatus()
    events = [
        status(1.0, 1, "JUMP"),
        status(2.0, 1),
        status(3.0, 3, "STARVED"),
        Activating(4.0),
        status(5.0, 1, "JUMP"),
    ]
    assert violations(check, *events) == []
    assert check.holds == {"JUMP": 2, "STARVED": 2} and check.totals == {"holds": 4}
