# SPDX-License-Identifier: Apache-2.0
"""Two sources of one joint are found; motion and noise are not mistaken for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from policy_ros.observation.conflicts import AlternationDetector, JointConflictDetector

TOLERANCE_RAD = 0.02
WINDOW_S = 0.1
Samples = Iterable[tuple[float, float]]  # time [s], position [rad]


def first_alarm_s(samples: Samples) -> float | None:
    detector = AlternationDetector(TOLERANCE_RAD, WINDOW_S)
    for time_s, value in samples:
        if detector.observe(value, round(time_s * 1e9)) is not None:
            return time_s
    return None


def interleaved(rate_a_hz: float, rate_b_hz: float, a: float, b: float, noise: float, rng: np.random.Generator):
    """Two sources at their own rates and phases, for three seconds."""
    times_a = np.arange(rng.uniform(0, 1 / rate_a_hz), 3.0, 1 / rate_a_hz)
    times_b = np.arange(rng.uniform(0, 1 / rate_b_hz), 3.0, 1 / rate_b_hz)
    samples = [(float(t), a + noise * rng.normal()) for t in times_a]
    samples += [(float(t), b + noise * rng.normal()) for t in times_b]
    return sorted(samples)


@pytest.mark.parametrize(
    ("rate_a_hz", "rate_b_hz"), [(100.0, 100.0), (100.0, 50.0), (500.0, 30.0), (100.0, 5.0), (30.0, 25.0)]
)
@pytest.mark.parametrize("gap_rad", [0.05, 0.5, -1.5])
def test_fault_25_two_sources_are_found_at_any_pair_of_rates(rate_a_hz: float, rate_b_hz: float, gap_rad: float):
    for seed in range(10):
        samples = interleaved(rate_a_hz, rate_b_hz, 0.3, 0.3 + gap_rad, 0.0005, np.random.default_rng(seed))
        assert first_alarm_s(samples) is not None, seed


def test_fault_25_alternating_sources_are_found_after_three_excursions():
    samples = [(i * 0.01, 0.0 if i % 2 == 0 else 0.5) for i in range(20)]
    assert first_alarm_s(samples) == pytest.approx(0.06)


def test_fault_25_a_moving_and_a_resting_source_are_found():
    samples = [(i * 0.01, 0.8 * np.sin(i * 0.01) if i % 2 == 0 else 1.5) for i in range(100)]
    assert first_alarm_s(samples) is not None


def test_motion_of_any_amplitude_sampled_eight_times_per_period_is_no_conflict():
    rng = np.random.default_rng(2)
    for trial in range(2000):
        rate_hz = rng.choice([20.0, 50.0, 100.0, 500.0])
        frequency_hz = rng.uniform(0.05, rate_hz / 8)
        amplitude_rad = 10 ** rng.uniform(-2.5, 0.8)
        times = np.arange(0.0, 2.0, 1 / rate_hz)
        values = amplitude_rad * np.sin(2 * np.pi * (frequency_hz * times + rng.uniform()))
        assert first_alarm_s(zip(times, values, strict=True)) is None, (trial, rate_hz, frequency_hz, amplitude_rad)


def test_sums_of_sinusoids_with_sensor_noise_and_jitter_are_no_conflict():
    rng = np.random.default_rng(3)
    for trial in range(500):
        times = np.cumsum(rng.uniform(0.005, 0.015, size=400))
        values = 0.002 * rng.normal(size=400)
        for _ in range(3):
            values += rng.uniform(0, 0.8) * np.sin(2 * np.pi * (rng.uniform(0.1, 6.0) * times + rng.uniform()))
        assert first_alarm_s(zip(times, values, strict=True)) is None, trial


@pytest.mark.parametrize("sigma_rad", [0.001, 0.005, 0.01, 0.05])
def test_noise_around_a_resting_joint_is_no_conflict(sigma_rad: float):
    rng = np.random.default_rng(4)
    values = sigma_rad * rng.normal(size=20_000)
    assert first_alarm_s((i * 0.01, v) for i, v in enumerate(values)) is None


def test_steps_that_stay_and_single_glitches_are_no_conflict():
    steps = [(i * 0.01, 0.3 * (i // 30 % 2)) for i in range(600)]  # a square wave of 0.6 s
    glitches = [(i * 0.01, 1.0 if i in (50, 250, 450) else 0.0) for i in range(600)]
    assert first_alarm_s(steps) is None
    assert first_alarm_s(glitches) is None


def test_glitches_of_different_heights_are_no_conflict():
    heights = dict(zip(range(50, 600, 40), [0.2, 0.9, -0.9, 2.8, 0.8, 0.3, -1.0, 1.1, -2.3, 2.1] * 2, strict=False))
    assert first_alarm_s((i * 0.01, heights.get(i, 0.0)) for i in range(600)) is None


def test_climbing_in_jerks_is_motion():
    positions = [0.5 * step + 0.5 * back for step in range(20) for back in (0, 1, 0)]
    assert first_alarm_s((i * 0.02, position) for i, position in enumerate(positions)) is None


def test_going_back_and_forth_slower_than_the_window_is_motion():
    assert first_alarm_s((i * 0.15, 0.5 * (i % 2)) for i in range(50)) is None


def test_sources_that_agree_within_the_tolerance_are_no_conflict():
    rng = np.random.default_rng(5)
    assert first_alarm_s(interleaved(100.0, 60.0, 0.3, 0.31, 0.0005, rng)) is None


def test_fault_25_named_sources_that_disagree_are_named_without_alternation():
    detector = JointConflictDetector("elbow", TOLERANCE_RAD, WINDOW_S)
    for i in range(5):
        detector.observe(0.1 * i, i * 10_000_000, source="arm")
        detector.observe(0.1 * i + 0.3, i * 10_000_000 + 1, source="simulation")
    assert detector.conflict is not None
    assert set(detector.conflict.sources or ()) == {"arm", "simulation"}
    assert "arm" in str(detector.conflict) and "simulation" in str(detector.conflict)


def test_named_sources_that_agree_or_follow_one_another_are_no_conflict():
    detector = JointConflictDetector("elbow", TOLERANCE_RAD, WINDOW_S)
    for i in range(50):
        detector.observe(0.01 * i, i * 10_000_000, source="arm")
        detector.observe(0.01 * i + 0.005, i * 10_000_000 + 1, source="relay")
    detector.observe(5.0, 2_000_000_000, source="restarted")
    detector.observe(5.0, 2_010_000_000, source="restarted")
    assert detector.conflict is None
