# SPDX-License-Identifier: Apache-2.0
"""The ring holds the newest samples in order and finds them by time."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.observation.ring import Ring


def filled(*stamps_ns: int, span_ns: int = 1000, capacity: int = 100) -> Ring[str]:
    ring: Ring[str] = Ring(span_ns, capacity)
    for stamp_ns in stamps_ns:
        assert ring.append(stamp_ns, f"at {stamp_ns}")
    return ring


def stamps(ring: Ring[str]) -> list[int]:
    return [sample.stamp_ns for sample in ring]


def test_an_empty_ring_finds_nothing():
    ring = filled()
    assert ring.newest() is None
    assert ring.nearest(5) is None
    assert ring.at_or_before(5) is None


def test_a_sample_older_than_the_newest_is_refused():
    ring = filled(10, 20)
    assert not ring.append(19, "late")
    assert stamps(ring) == [10, 20]


def test_a_sample_with_the_newest_stamp_replaces_it():
    ring = filled(10, 20)
    assert ring.append(20, "again")
    assert stamps(ring) == [10, 20]
    newest = ring.newest()
    assert newest is not None and newest.value == "again"


def test_capacity_bounds_the_count_and_drops_the_oldest():
    assert stamps(filled(*range(10), capacity=3)) == [7, 8, 9]


def test_span_bounds_the_time_but_keeps_what_was_valid_at_its_start():
    assert stamps(filled(0, 40, 100, 160, span_ns=100)) == [40, 100, 160]


def test_nearest_prefers_the_older_of_two_equally_close_samples():
    found = filled(10, 20).nearest(15)
    assert found is not None and found.stamp_ns == 10


def test_nearest_and_at_or_before_agree_with_a_search_through_all_samples():
    rng = np.random.default_rng(0)
    for _ in range(200):
        taken = sorted(set(rng.integers(0, 100, size=rng.integers(1, 12)).tolist()))
        ring = filled(*taken)
        wanted = int(rng.integers(-10, 110))
        nearest, before = ring.nearest(wanted), ring.at_or_before(wanted)
        assert nearest is not None
        assert nearest.stamp_ns == min(taken, key=lambda t: (abs(t - wanted), t))
        earlier = [t for t in taken if t <= wanted]
        assert (before.stamp_ns if before else None) == (max(earlier) if earlier else None)


def test_a_removed_sample_gives_way_to_the_next_newest():
    ring = filled(10, 20)
    newest = ring.newest()
    assert newest is not None
    assert ring.remove(newest)
    assert not ring.remove(newest)
    assert stamps(ring) == [10]


def test_clear_forgets_everything_and_accepts_older_stamps_again():
    ring = filled(10, 20)
    ring.clear()
    assert len(ring) == 0
    assert ring.append(5, "after the clock went back")


@pytest.mark.parametrize(("span_ns", "capacity"), [(-1, 1), (0, 0)])
def test_impossible_bounds_are_refused(span_ns: int, capacity: int):
    with pytest.raises(ValueError, match="expected span_ns >= 0 and capacity >= 1"):
        Ring(span_ns, capacity)
