# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from policy_ros.simulation.referee import Decision, Referee, Rules, Verdict

DT_S = 0.25


def watch(referee: Referee, steps: int, solved: Callable[[Referee], bool] = lambda referee: False) -> list[Verdict]:
    """All verdicts of so many steps; ``solved`` tells from the referee whether the table shows a success."""
    return [verdict for _ in range(steps) for verdict in referee.advance(solved(referee), DT_S)]


def told(verdicts: list[Verdict]) -> list[tuple[str, int]]:
    return [(verdict.decision.value, verdict.index) for verdict in verdicts]


def test_first_episode_starts_at_once_with_the_task_that_is_on_the_table():
    assert told(watch(Referee(Rules()), 1)) == [("started", 0)]


def test_solved_task_stays_for_a_moment_and_the_next_one_follows():
    referee = Referee(Rules(success_hold_s=1.0))
    watch(referee, 1)
    verdicts = watch(referee, 5, lambda referee: referee.elapsed_s == 0.0)
    assert told(verdicts) == [("solved", 0), ("success", 0), ("draw", 1), ("started", 1)]
    assert (referee.started, referee.successes) == (2, 1)


def test_task_not_solved_in_time_is_a_failure():
    referee = Referee(Rules(timeout_s=2.0))
    watch(referee, 1)
    assert told(watch(referee, 7)) == []
    assert told(watch(referee, 1)) == [("failure", 0), ("draw", 1), ("started", 1)]
    assert referee.successes == 0


def test_task_solved_just_before_the_time_is_over_is_a_success():
    referee = Referee(Rules(timeout_s=2.0, success_hold_s=1.0))
    watch(referee, 1)
    verdicts = watch(referee, 12, lambda referee: referee.elapsed_s >= 1.75)
    assert told(verdicts)[:2] == [("solved", 0), ("success", 0)]


def test_episode_starts_a_pause_after_its_task_was_drawn():
    referee = Referee(Rules(timeout_s=1.0, pause_s=0.75))
    assert told(watch(referee, 3)) == [("started", 0)]
    assert told(watch(referee, 4)) == [("failure", 0), ("draw", 1)]
    assert not referee.running
    assert referee.paused_s == 0.0
    assert told(watch(referee, 2, lambda referee: True)) == [], "a success between two episodes is nobody's"
    assert referee.paused_s == 0.5
    assert told(watch(referee, 1)) == [("started", 1)]
    assert referee.paused_s == 0.0


def test_episodes_on_request_wait_for_it_each_time():
    referee = Referee(Rules(timeout_s=1.0, on_request=True, goes_on=False))
    assert told(watch(referee, 100)) == []
    assert told(referee.request()) == [("draw", 0), ("started", 0)]
    assert told(watch(referee, 100)) == [("failure", 0)]
    assert told(referee.request()) == [("draw", 1), ("started", 1)]


def test_request_in_the_middle_of_an_episode_discards_it():
    referee = Referee(Rules())
    watch(referee, 3)
    assert told(referee.request()) == [("discarded", 0), ("draw", 1), ("started", 1)]


def test_after_the_last_episode_none_is_drawn_even_on_request():
    referee = Referee(Rules(timeout_s=1.0, episodes=2))
    verdicts = watch(referee, 100)
    assert told(verdicts) == [("started", 0), ("failure", 0), ("draw", 1), ("started", 1), ("failure", 1)]
    assert referee.finished
    assert referee.request() == []


@pytest.mark.parametrize("pause_s", [0.0, 0.5])
def test_every_episode_that_starts_ends_once(pause_s: float):
    referee = Referee(Rules(timeout_s=2.0, pause_s=pause_s, episodes=9))
    decisions = [v.decision for v in watch(referee, 300, lambda referee: referee.elapsed_s > 1.0 + referee.index % 3)]
    ended = [d for d in decisions if d in (Decision.SUCCESS, Decision.FAILURE)]
    assert decisions.count(Decision.STARTED) == len(ended) == 9
    assert ended.count(Decision.SUCCESS) == referee.successes == 3
