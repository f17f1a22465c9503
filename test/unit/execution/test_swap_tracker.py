# SPDX-License-Identifier: Apache-2.0
"""The phases of a swap, without anything that is swapped."""

from __future__ import annotations

import threading

import pytest

from policy_ros.execution.swap_tracker import SwapPhase, SwapTracker


@pytest.fixture
def tracker() -> SwapTracker:
    return SwapTracker()


def through(tracker: SwapTracker, ticket: int, *phases: SwapPhase) -> list[bool]:
    return [tracker.advance(ticket, phase) for phase in phases]


def test_before_the_first_request_nothing_is_going_on(tracker):
    state = tracker.state
    assert (state.phase, state.detail, state.ticket) == (SwapPhase.IDLE, "", 0)


def test_a_swap_goes_through_all_phases_and_says_what_it_brings_in(tracker):
    ticket = tracker.begin("/checkpoints/flow")
    assert (tracker.state.phase, tracker.state.detail) == (SwapPhase.LOADING, "/checkpoints/flow")
    assert through(tracker, ticket, SwapPhase.WARMING, SwapPhase.READY, SwapPhase.TAKING_OVER) == [True] * 3
    assert tracker.state.detail == "/checkpoints/flow"
    assert tracker.finish(ticket)
    assert (tracker.state.phase, tracker.state.detail) == (SwapPhase.IDLE, "")


def test_a_first_inference_may_be_repeated(tracker):
    ticket = tracker.begin("x")
    through(tracker, ticket, SwapPhase.WARMING, SwapPhase.READY, SwapPhase.TAKING_OVER)
    assert tracker.advance(ticket, SwapPhase.TAKING_OVER)


def test_fault_34_a_failure_keeps_the_reason_until_the_next_request(tracker):
    ticket = tracker.begin("/broken")
    assert tracker.fail(ticket, "found nothing")
    assert (tracker.state.phase, tracker.state.detail) == (SwapPhase.FAILED, "/broken: found nothing")
    tracker.begin("/good")
    assert tracker.state.detail == "/good"


def test_a_newer_request_ends_an_older_one_wherever_it_is(tracker):
    first = tracker.begin("first")
    tracker.advance(first, SwapPhase.WARMING)
    second = tracker.begin("second")
    assert not tracker.counts(first) and tracker.counts(second)
    assert through(tracker, first, SwapPhase.READY) == [False]
    assert not tracker.fail(first, "late") and not tracker.finish(first)
    assert (tracker.state.phase, tracker.state.wanted) == (SwapPhase.LOADING, "second")


@pytest.mark.parametrize("phase", [SwapPhase.READY, SwapPhase.TAKING_OVER, SwapPhase.LOADING])
def test_no_phase_is_left_out(tracker, phase):
    ticket = tracker.begin("x")
    with pytest.raises(ValueError, match="expected what follows on 'loading'"):
        tracker.advance(ticket, phase)


def test_what_is_abandoned_neither_goes_on_nor_failed(tracker):
    ticket = tracker.begin("x")
    tracker.abandon()
    assert tracker.state.phase is SwapPhase.IDLE
    assert not tracker.advance(ticket, SwapPhase.WARMING)
    assert tracker.begin("y") == ticket + 1


def test_a_failure_is_not_forgotten_when_nothing_is_left_to_abandon(tracker):
    tracker.fail(tracker.begin("x"), "reason")
    tracker.abandon()
    assert tracker.state.phase is SwapPhase.FAILED


def test_nothing_follows_on_the_end(tracker):
    ticket = tracker.begin("x")
    tracker.fail(ticket, "reason")
    assert not tracker.finish(ticket)
    assert not tracker.advance(ticket, SwapPhase.WARMING)


def test_waiting_ends_when_the_policy_is_ready_or_failed(tracker):
    assert tracker.wait_while_preparing(0.0), "nothing is going on"
    ticket = tracker.begin("x")
    assert not tracker.wait_while_preparing(0.0)
    done = threading.Event()
    waiter = threading.Thread(target=lambda: tracker.wait_while_preparing(60.0) and done.set())
    waiter.start()
    through(tracker, ticket, SwapPhase.WARMING, SwapPhase.READY)
    assert done.wait(30.0)
    waiter.join()
