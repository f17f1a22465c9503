# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.execution import Pacer, SteadyClock, VirtualClock


def pace(clock: VirtualClock, calls: int, work: Callable[[int], None], **options: object) -> tuple[Pacer, list[float]]:
    """Times [s] of so many calls of a pacer with a period of 20 ms, on this thread; ``work`` gets the call's number."""
    stop, times = threading.Event(), []

    def callback() -> None:
        times.append(clock.now_ns() * 1e-9)
        if len(times) == calls:
            stop.set()
        work(len(times) - 1)

    pacer = Pacer(0.02, callback, clock, on_error=options.pop("on_error", _unexpected))
    pacer.run(stop)
    return pacer, times


def _unexpected(error: Exception) -> None:
    raise AssertionError(f"unexpected: {error}")


def test_callback_time_does_not_add_up_to_drift() -> None:
    clock = VirtualClock()
    pacer, times = pace(clock, 1001, lambda _: clock.advance(0.0137))
    assert times == pytest.approx([0.02 * call for call in range(1001)], abs=1e-9)
    assert pacer.missed == 0


def test_missed_deadlines_are_skipped_and_never_bunched() -> None:
    clock = VirtualClock()
    pacer, times = pace(clock, 5, lambda call: clock.advance(0.075 if call == 1 else 0.001))
    assert times == pytest.approx([0.0, 0.02, 0.1, 0.12, 0.14])
    assert pacer.missed == 3


def test_a_call_that_is_late_by_less_than_half_a_period_is_still_made() -> None:
    clock = VirtualClock()
    pacer, times = pace(clock, 4, lambda call: clock.advance(0.025 if call == 1 else 0.001))
    assert times == pytest.approx([0.0, 0.02, 0.045, 0.06])
    assert pacer.missed == 0


def test_a_clock_that_steps_back_does_not_stall_the_pace() -> None:
    clock = VirtualClock(now_ns=10_000_000_000)
    _, times = pace(clock, 4, lambda call: clock.advance(-5.0 if call == 1 else 0.0))
    assert times == pytest.approx([10.0, 10.02, 5.04, 5.06])


def test_exceptions_are_handed_over_and_the_pace_goes_on() -> None:
    clock, errors = VirtualClock(), []

    def work(call: int) -> None:
        if call == 1:
            raise RuntimeError("tick failed")

    pacer, times = pace(clock, 4, work, on_error=errors.append)
    assert [str(error) for error in errors] == ["tick failed"]
    assert (len(times), pacer.errors) == (4, 1)


def test_periods_are_measured() -> None:
    clock = VirtualClock()
    pacer, _ = pace(clock, 11, lambda _: None)
    periods = pacer.periods()
    assert periods.count == 10
    assert periods.p50 == pytest.approx(0.02)


def test_period_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="positive"):
        Pacer(0.0, lambda: None, VirtualClock(), on_error=_unexpected)


def test_stop_ends_the_thread_and_a_second_start_works() -> None:
    called = threading.Event()
    pacer = Pacer(0.001, called.set, SteadyClock(), on_error=_unexpected)
    for _ in range(2):
        called.clear()
        pacer.start()
        assert called.wait(10.0)
        assert pacer.stop(10.0)
        assert not pacer.alive


def test_stop_is_bounded_when_the_callback_hangs() -> None:
    entered, release = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert release.wait(10.0)

    pacer = Pacer(0.001, hang, SteadyClock(), on_error=_unexpected)
    pacer.start()
    assert entered.wait(10.0)
    assert not pacer.stop(0.0)
    with pytest.raises(PolicyRosError, match="still runs"):
        pacer.start()
    release.set()
    assert pacer.stop(10.0)


def test_stop_from_within_the_callback_does_not_wait_for_itself() -> None:
    results, done = [], threading.Event()

    def callback() -> None:
        results.append(pacer.stop(10.0))
        done.set()

    pacer = Pacer(0.001, callback, SteadyClock(), on_error=_unexpected)
    pacer.start()
    assert done.wait(10.0)
    assert pacer.stop(10.0)
    assert results == [True]


def test_steady_clock_waits_for_the_deadline_and_gives_up_when_stopped() -> None:
    clock, stop = SteadyClock(), threading.Event()
    deadline = clock.now_ns() + 1_000_000
    assert clock.wait_until(deadline, stop)
    assert clock.now_ns() >= deadline
    stop.set()
    assert not clock.wait_until(clock.now_ns() + 3_600_000_000_000, stop)
