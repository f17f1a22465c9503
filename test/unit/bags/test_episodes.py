# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from support.bags import EPISODE, Recording, episode, joint_state, ns

from policy_ros.bags import BagError, Episode, find_episodes, open_bag

STARTED, ENDED, DISCARDED = 0, 1, 2
UNKNOWN, SUCCESS, FAILURE = 0, 1, 2


@pytest.fixture(params=["mcap", "sqlite3"])
def make_bag(request, tmp_path):
    """A bag of 10 s with these events: time, index, event, and more fields."""

    def make(*events, topic="/episode"):
        with Recording(tmp_path / "bag", request.param) as bag:
            for i in range(11):
                bag.add("/joint_states", ns(float(i)), joint_state(0, ["a"], [0.0]))
                for time_s, index, event, *fields in events:
                    if i <= time_s < i + 1:
                        # The stamp is of another clock: only the log time has to do with the other messages'.
                        message = episode(5, index, event, **(fields[0] if fields else {}))
                        bag.add(topic, ns(time_s), message)
        return open_bag(tmp_path / "bag")

    return make


def times(episodes):
    return [(each.index, each.start_ns, each.stop_ns) for each in episodes]


def test_a_bag_without_events_is_one_episode(make_bag):
    bag = make_bag()
    assert find_episodes(bag) == [Episode(bag.path, 0, ns(0.0), ns(10.0) + 1, "", None)]
    assert bag.problems == []


def test_an_empty_bag_has_no_episode(tmp_path):
    with Recording(tmp_path / "bag"):
        pass
    assert find_episodes(open_bag(tmp_path / "bag")) == []


def test_episodes_last_from_their_begin_to_their_end(make_bag):
    bag = make_bag(
        (1.0, 0, STARTED, {"task": "pick"}),
        (3.0, 0, ENDED, {"result": SUCCESS, "task": "pick"}),
        (4.0, 1, STARTED, {"task": "place"}),
        (5.0, 1, ENDED, {"result": FAILURE}),
        (6.0, 2, STARTED),
        (7.0, 2, ENDED, {"result": UNKNOWN}),
    )
    assert find_episodes(bag) == [
        Episode(bag.path, 0, ns(1.0), ns(3.0), "pick", True),
        Episode(bag.path, 1, ns(4.0), ns(5.0), "place", False),
        Episode(bag.path, 2, ns(6.0), ns(7.0), "", None),
    ]
    assert bag.problems == []


def test_a_discarded_episode_is_none_before_and_after_its_end(make_bag):
    bag = make_bag(
        (1.0, 0, STARTED),
        (2.0, 0, DISCARDED),
        (3.0, 1, STARTED),
        (4.0, 1, ENDED),
        (5.0, 2, STARTED),
        (6.0, 2, ENDED),
        (7.0, 2, DISCARDED),
    )
    assert times(find_episodes(bag)) == [(1, ns(3.0), ns(4.0))]
    assert bag.problems == []


def test_an_episode_without_an_end_lasts_until_the_next_or_the_end_of_the_bag_and_is_reported(make_bag):
    bag = make_bag((1.0, 0, STARTED), (4.0, 1, STARTED))
    assert times(find_episodes(bag)) == [(0, ns(1.0), ns(4.0)), (1, ns(4.0), ns(10.0) + 1)]
    assert [text.partition("expected ")[2][:25] for text in bag.problems] == [
        "an end of episode 0, got ",
        "an end of episode 1, got ",
    ]
    assert all(f"{bag.path}: topic '/episode'" in text for text in bag.problems)


def test_an_end_without_a_begin_is_left_out_and_reported(make_bag):
    bag = make_bag((1.0, 3, ENDED), (2.0, 4, STARTED), (3.0, 4, ENDED))
    assert times(find_episodes(bag)) == [(4, ns(2.0), ns(3.0))]
    assert "expected the begin of episode 3" in bag.problems[0]


def test_an_event_that_nobody_knows_is_reported(make_bag):
    bag = make_bag((1.0, 0, STARTED), (2.0, 0, 9), (3.0, 0, ENDED))
    assert times(find_episodes(bag)) == [(0, ns(1.0), ns(3.0))]
    assert "expected an event of 0, 1 or 2, got 9" in bag.problems[0]


def test_the_topic_may_lie_in_a_namespace(make_bag):
    bag = make_bag((1.0, 0, STARTED), (2.0, 0, ENDED), topic="/left/episode")
    assert times(find_episodes(bag)) == [(0, ns(1.0), ns(2.0))]


def test_of_several_topics_one_has_to_be_named(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        for side, begin in (("left", 0.0), ("right", 2.0)):
            bag.add(f"/{side}/episode", ns(begin), episode(0, 0, STARTED))
            bag.add(f"/{side}/episode", ns(begin + 1.0), episode(0, 0, ENDED))
    read = open_bag(tmp_path / "bag")
    with pytest.raises(BagError, match="got /left/episode, /right/episode; name one"):
        find_episodes(read)
    assert times(find_episodes(read, "/right/episode")) == [(0, ns(2.0), ns(3.0))]
    with pytest.raises(BagError, match="expected topic '/up/episode'"):
        find_episodes(read, "/up/episode")


def test_a_malformed_event_is_left_out_and_reported(tmp_path):
    with Recording(tmp_path / "bag") as bag:
        bag.raw("/episode", ns(0.0), EPISODE, b"\x00\x01\x00\x00\x01")
        bag.add("/episode", ns(1.0), episode(0, 1, STARTED))
        bag.add("/episode", ns(2.0), episode(0, 1, ENDED))
    read = open_bag(tmp_path / "bag")
    assert times(find_episodes(read)) == [(1, ns(1.0), ns(2.0))]
    assert "topic '/episode': expected a policy_ros/msg/Episode, got 5 bytes" in read.problems[0]
