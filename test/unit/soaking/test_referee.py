# SPDX-License-Identifier: Apache-2.0
"""Events are judged in the order of their times, whatever the order they arrive in."""

from __future__ import annotations

import numpy as np
from soaking.checks import SilentUnlessActive
from soaking.events import Activating, Command, Deactivated
from soaking.referee import MOST_KEPT, Referee


def command(time_s: float) -> Command:
    return Command(time_s, "arm", np.zeros((1, 1)))


def test_events_that_arrive_late_are_put_in_order():
    referee = Referee([SilentUnlessActive()], lag_s=2.0)
    for event in (Deactivated(2.0), command(1.0), Activating(0.0)):
        referee.add(event)
    referee.advance(4.5)
    assert referee.count == referee.out_of_order == 0


def test_nothing_is_judged_before_its_lag_is_over():
    referee = Referee([SilentUnlessActive()], lag_s=2.0)
    referee.add(Deactivated(2.0))
    referee.add(command(3.0))
    referee.advance(4.9)
    assert referee.count == 0
    referee.advance(5.1)
    assert referee.count == 1


def test_an_event_beyond_the_lag_is_counted():
    referee = Referee([SilentUnlessActive()], lag_s=2.0)
    referee.advance(10.0)
    referee.add(command(5.0))
    assert referee.out_of_order == 1


def test_a_violation_tells_when_it_was_what_was_done_then_and_is_not_lost_at_the_end():
    referee = Referee([SilentUnlessActive()])
    referee.context = "a drop-out"
    referee.add(Deactivated(2.0))
    referee.add(command(3.0))
    referee.context = "something else"
    referee.finish()
    (violation,) = referee.violations
    assert (violation.time_s, violation.check, violation.context) == (3.0, "silent unless active", "a drop-out")


def test_violations_beyond_those_kept_are_counted():
    referee = Referee([SilentUnlessActive()])
    referee.add(Deactivated(0.0))
    for i in range(MOST_KEPT + 5):
        referee.add(command(1.0 + i))
    referee.finish()
    assert len(referee.violations) == MOST_KEPT and referee.count == MOST_KEPT + 5
