# SPDX-License-Identifier: Apache-2.0
"""Rates, gaps and silence of a topic."""

from __future__ import annotations

import sys
import threading

import pytest

from policy_ros.ros.recorder.measurements import SILENT_AFTER_S, TopicMeasurements


def arrivals(hz: float, seconds: float) -> TopicMeasurements:
    measurements = TopicMeasurements()
    for number in range(round(hz * seconds) + 1):
        measurements.arrived(100.0 + number / hz, 1000)
    return measurements


@pytest.mark.parametrize("hz", [2.0, 30.0, 1000.0])
def test_the_rate_is_that_of_the_last_seconds(hz):
    measurements = arrivals(hz, 5.0)
    assert measurements.rate_hz(105.0) == pytest.approx(hz)
    assert measurements.bytes_per_s(105.0) == pytest.approx(1000 * hz, rel=0.3)
    assert measurements.rate_hz(120.0) == 0.0


def test_a_topic_is_silent_when_much_more_than_its_period_has_passed():
    measurements = arrivals(30.0, 5.0)
    assert measurements.silent_s(200.0) == 0.0, "nothing was expected"
    measurements.expect_current_rate(105.0)
    assert measurements.silent_s(105.0 + 0.9 * SILENT_AFTER_S) == 0.0
    assert measurements.silent_s(107.0) == pytest.approx(2.0)


def test_the_time_between_episodes_is_no_gap():
    measurements = TopicMeasurements()
    for start_ns in (0, 60_000_000_000):
        measurements.begin_episode()
        for number in range(11):
            measurements.record(start_ns + number * 100_000_000, 10)
    assert measurements.largest_gap_s == pytest.approx(0.1)
    assert measurements.recorded_hz == pytest.approx(10.0)
    assert measurements.recorded_bytes == 220


def test_numbers_can_be_read_while_messages_arrive():
    measurements, stop = TopicMeasurements(), threading.Event()

    def receive() -> None:
        now_s = 0.0
        while not stop.is_set():
            now_s += 0.001
            measurements.arrived(now_s, 100)

    thread = threading.Thread(target=receive)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        while measurements.received < 30_000:
            assert measurements.bytes_per_s(0.0) >= 0.0 <= measurements.rate_hz(0.0)
    finally:
        sys.setswitchinterval(interval_s)
        stop.set()
        thread.join()
