# SPDX-License-Identifier: Apache-2.0
"""Which episode runs and how the others ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policy_ros.ros.recorder.episodes import EpisodeError, EpisodeEvent, Episodes, Event, Result

MESSAGE = Path(__file__).parents[3] / "msg" / "Episode.msg"


def test_events_and_results_are_numbered_as_in_the_message():
    numbers = {name: int(value) for name, value in re.findall(r"^uint8 (\w+)=(\d+)", MESSAGE.read_text(), re.M)}
    assert numbers == {each.name: int(each) for each in (*Event, *Result)}


def test_episodes_are_numbered_and_counted_by_result():
    episodes = Episodes()
    for index, result in enumerate((Result.SUCCESS, Result.FAILURE, Result.SUCCESS, Result.UNKNOWN)):
        assert episodes.start("stack") == EpisodeEvent(index, Event.STARTED, task="stack")
        assert episodes.running == index
        assert episodes.stop("stack", result) == EpisodeEvent(index, Event.ENDED, result, "stack")
    assert episodes.running is None and episodes.kept == 4
    assert [episodes.count(result) for result in Result] == [1, 2, 1]


def test_discarding_means_the_running_episode_or_else_the_last_one_and_nothing_twice():
    episodes = Episodes()
    episodes.start("")
    assert episodes.discard("").index == 0
    assert episodes.running is None
    episodes.start("")
    episodes.stop("", Result.SUCCESS)
    assert episodes.discard("").index == 1
    assert (episodes.kept, episodes.discarded) == (0, 2)
    with pytest.raises(EpisodeError, match="no episode to discard"):
        episodes.discard("")
    assert episodes.start("").index == 2, "a discarded number is not used again"


def test_what_is_not_possible_is_refused():
    episodes = Episodes()
    with pytest.raises(EpisodeError, match="start one first"):
        episodes.stop("")
    episodes.start("")
    with pytest.raises(EpisodeError, match="episode 0 is running"):
        episodes.start("")


def test_followed_events_of_an_episode_whose_start_was_not_seen_do_not_count():
    episodes = Episodes()
    assert not episodes.follow(EpisodeEvent(4, Event.ENDED, Result.SUCCESS))
    assert episodes.follow(EpisodeEvent(5, Event.STARTED))
    assert not episodes.follow(EpisodeEvent(4, Event.DISCARDED))
    assert episodes.running == 5
    assert episodes.follow(EpisodeEvent(5, Event.ENDED, Result.SUCCESS))
    assert episodes.kept == 1
