# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from policy_ros.bench.loads import BusyPython, Inference
from policy_ros.bench.pacing import SLICE_S, Periods, ThreadPacing, measure
from policy_ros.errors import ConfigurationError, PolicyRosError
from policy_ros.execution import HoldCause, VirtualClock

PERIOD_S = 0.02


class VirtualPacing(VirtualClock):
    """Calls back while virtual time passes, every other call late by ``late_s``."""

    def __init__(self, name: str, late_s: float) -> None:
        super().__init__()
        self.name = name
        self._late_s = late_s
        self._callback: Callable[[], None] | None = None

    def start(self, period_s: float, callback: Callable[[], None]) -> int:
        self._period_ns, self._callback = round(period_s * 1e9), callback
        return 0

    def stop(self) -> None:
        self._callback = None

    def wait_until(self, deadline_ns: int, stop: threading.Event) -> bool:
        start_ns = self.now_ns()
        for call in range((deadline_ns - start_ns) // self._period_ns):
            due_ns = start_ns + call * self._period_ns
            super().wait_until(due_ns + round(call % 2 * self._late_s * 1e9), stop)
            assert self._callback is not None
            self._callback()
        return super().wait_until(deadline_ns, stop)


class CountingLoad:
    """Notes what is asked of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turns = self.ticks = 0
        self.running = False

    def start(self) -> None:
        assert not self.running
        self.running = True
        self.turns += 1

    def tick(self) -> None:
        assert self.running
        self.ticks += 1

    def stop(self) -> dict[str, float]:
        self.running = False
        return {"turn": float(self.turns)}


def test_periods_are_multiples_of_the_nominal_one() -> None:
    periods = Periods.of([[0, 20_000_000, 50_000_000, 60_000_000]], PERIOD_S)
    assert (periods.count, periods.p50, periods.longest) == (3, 1.0, 1.5)
    assert periods.sd == pytest.approx((0.5**2 * 2 / 3) ** 0.5)


def test_nothing_is_measured_between_turns_and_gaps_count_as_missed_calls() -> None:
    second = 1_000_000_000
    periods = Periods.of([[0, 20_000_000], [second, second + 20_000_000, second + 80_000_000]], PERIOD_S)
    assert (periods.count, periods.longest, periods.missed) == (3, 3.0, 2)


def test_turns_without_two_calls_cannot_be_judged() -> None:
    with pytest.raises(ConfigurationError, match="measure for longer"):
        Periods.of([[0], []], PERIOD_S)


def test_every_condition_gets_its_turns_and_the_late_pacing_is_seen() -> None:
    clock = VirtualPacing("late", 0.004)
    loads = [CountingLoad("a"), CountingLoad("b")]
    results = measure([clock], loads, rate_hz=50.0, seconds=2 * SLICE_S, clock=clock)
    assert [(result.condition.load, result.condition.pacing) for result in results] == [("a", "late"), ("b", "late")]
    for load, result in zip(loads, results, strict=True):
        assert load.turns == 2 and load.ticks > result.periods.count
        assert not load.running
        assert result.load == {"turn": 1.5}
        assert result.periods.count == pytest.approx(2 * SLICE_S / PERIOD_S, abs=6)
        assert result.periods.longest == pytest.approx(1.2)
        assert result.periods.missed == 0


def test_conditions_take_turns() -> None:
    clock, order = VirtualPacing("late", 0.0), []

    class Load(CountingLoad):
        def start(self) -> None:
            super().start()
            order.append(self.name)

    measure([clock], [Load("a"), Load("b")], rate_hz=50.0, seconds=5 * SLICE_S, clock=clock)
    assert [set(order[i : i + 2]) for i in range(0, 10, 2)] == [{"a", "b"}] * 5


@pytest.mark.parametrize(("rate_hz", "seconds"), [(0.0, 1.0), (50.0, 0.0)])
def test_rate_and_duration_must_be_positive(rate_hz: float, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="positive"):
        measure([], [], rate_hz=rate_hz, seconds=seconds)


def test_the_thread_paces_and_ends() -> None:
    called, pacing = threading.Event(), ThreadPacing()
    thread_id = pacing.start(0.001, called.set)
    assert called.wait(10.0)
    assert thread_id in {thread.native_id for thread in threading.enumerate()}
    pacing.stop()
    assert thread_id not in {thread.native_id for thread in threading.enumerate()}


def test_busy_python_runs_until_it_is_stopped() -> None:
    load, before = BusyPython(), threading.active_count()
    load.start()
    assert threading.active_count() == before + 1
    load.stop()
    assert threading.active_count() == before


def test_inference_goes_on_as_rows_are_consumed() -> None:
    load = Inference(50.0, "cpu")
    for _ in range(2):  # it can be started again
        load.start()
        load.tick()  # the first step is consumed, the next inference may begin
        said = load.stop()
        assert said["inference_ms"] > 0.0
        assert 0.0 <= said["inference_share"] <= 1.0


def test_inference_that_came_to_a_hold_is_no_measurement() -> None:
    load = Inference(50.0, "cpu")
    load.start()
    load.executor.hold(HoldCause.POLICY_FAILED, "broken")
    load.tick()
    with pytest.raises(PolicyRosError, match="broken"):
        load.stop()
