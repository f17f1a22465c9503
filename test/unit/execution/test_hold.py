# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from policy_ros.data import StreamHealth
from policy_ros.execution import Hold, HoldCause, Recovery
from policy_ros.execution.hold_latch import HoldLatch

RECOVERING = {
    HoldCause.STARVED,
    HoldCause.STREAM_EXPIRED,
    HoldCause.STREAM_FROZEN,
    HoldCause.CALLBACKS_STALLED,
    HoldCause.CLOCK_JUMP,
}


def hold(cause: HoldCause) -> Hold:
    return Hold(cause, "because", 0)


@pytest.mark.parametrize("cause", HoldCause)
def test_a_hold_is_latched_unless_something_can_be_awaited(cause: HoldCause) -> None:
    assert cause.latched is (cause not in RECOVERING)


@pytest.mark.parametrize("cause", sorted(set(HoldCause) - RECOVERING, key=lambda cause: cause.name))
def test_a_latched_hold_ends_neither_by_fresh_streams_nor_by_a_chunk(cause: HoldCause, fresh: StreamHealth) -> None:
    latch = HoldLatch()
    latch.enter(hold(cause))
    latch.release_if_over(fresh, rows_left=8)
    assert latch.current == hold(cause)


def test_a_stream_hold_ends_only_when_nothing_is_even_stale(
    fresh: StreamHealth, stale: StreamHealth, expired: StreamHealth
) -> None:
    latch = HoldLatch()
    latch.enter(hold(HoldCause.STREAM_EXPIRED))
    for health in (expired, stale):
        latch.release_if_over(health, rows_left=8)
        assert latch.current is not None
    latch.release_if_over(fresh, rows_left=0)
    assert latch.current is None


def test_the_most_severe_of_several_requests_counts() -> None:
    latch = HoldLatch()
    for cause in (HoldCause.STARVED, HoldCause.OPERATOR, HoldCause.STREAM_EXPIRED, HoldCause.JUMP):
        latch.request(hold(cause))
    assert latch.take_request() == hold(HoldCause.OPERATOR)
    assert latch.take_request() is None


def test_a_request_no_more_severe_than_the_hold_in_force_is_dropped() -> None:
    latch = HoldLatch()
    latch.enter(hold(HoldCause.STREAM_EXPIRED))
    latch.request(hold(HoldCause.CLOCK_JUMP))
    assert latch.take_request() is None
    latch.request(hold(HoldCause.POLICY_FAILED))
    assert latch.take_request() == hold(HoldCause.POLICY_FAILED)


def test_inference_goes_on_only_while_starved() -> None:
    latch = HoldLatch()
    assert not latch.stops_inference
    latch.enter(hold(HoldCause.STARVED))
    assert not latch.stops_inference
    latch.request(hold(HoldCause.OPERATOR))
    assert latch.stops_inference


def test_severity_orders_what_ends_a_hold() -> None:
    assert Recovery.ON_CHUNK < Recovery.ON_FRESH_STREAMS < Recovery.ON_RESET
