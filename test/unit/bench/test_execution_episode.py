# SPDX-License-Identifier: Apache-2.0
"""One episode: virtual time passes during inferences exactly as it is told to."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.bench.execution.contenders import stub_contender
from policy_ros.bench.execution.delay import SPIKE_EVERY, DelayModel, DelaySequence
from policy_ros.bench.execution.episode import Trace
from policy_ros.bench.execution.metrics import measure
from policy_ros.bench.execution.suite import Way, run_episode
from policy_ros.bench.execution.task import PERIOD_S, ForkedPath
from policy_ros.errors import ConfigurationError
from policy_ros.execution import ExecutionState

PATH = ForkedPath()
STUB = stub_contender(PATH)


def episode(mode: str, delay_ms: float, **model: float) -> Trace:
    return run_episode(PATH, STUB, Way(mode, mode), DelayModel(delay_ms, **model), seed=0, number=0)


@pytest.mark.parametrize(("delay_ms", "steps"), [(0.0, 0), (19.0, 0), (20.0, 1), (50.0, 2), (200.0, 10), (300.0, 15)])
def test_the_measured_delay_is_the_injected_one_in_steps(delay_ms: float, steps: int):
    trace = episode("overlap", delay_ms)
    assert trace.reached
    assert set(trace.delays[1:]) == {steps}  # nothing is consumed during the first
    lengths = np.diff(trace.inferences_s, axis=1)
    assert lengths[:-1] == pytest.approx(delay_ms * 1e-3)


def test_sync_stops_for_every_inference_and_consumes_nothing_meanwhile():
    trace = episode("sync", 100.0)
    assert set(trace.delays) == {0}
    inferences = len(trace.inferences_s)
    assert int(np.sum(trace.states == ExecutionState.STARVED)) == (inferences - 1) * 5
    standing = np.flatnonzero(trace.states == ExecutionState.STARVED)
    np.testing.assert_array_equal(trace.commands[standing + 1], trace.commands[standing])
    for begin_s, end_s in trace.inferences_s:
        assert end_s - begin_s == pytest.approx(0.1)


@pytest.mark.parametrize("mode", ["overlap", "ensemble", "blend", "rtc"])
def test_gapless_modes_command_on_every_tick_after_the_first_chunk(mode: str):
    trace = episode(mode, 200.0)
    first = int(np.argmax(trace.states == ExecutionState.RUNNING))
    assert first == 10
    assert set(trace.states[first:]) == {int(ExecutionState.RUNNING)}
    assert trace.status.holds == 0
    assert trace.modes == (mode,)
    assert (trace.status.chunks_guided > 0) == (mode == "rtc")


def test_rtc_says_how_it_degrades_when_the_delay_cannot_be_hidden():
    trace = episode("rtc", 800.0)
    metrics = measure(trace, PATH)
    assert "hold" in trace.modes
    assert "expected d <= s <= H - d" in trace.degradation
    assert metrics.holds > 0
    assert metrics.starved_ticks > 0
    assert trace.reached


def test_a_spike_comes_at_every_eighth_inference_and_jitter_stays_within_its_share():
    sequence = DelaySequence(DelayModel(100.0, jitter=0.2, spike_ms=300.0), np.random.default_rng(0))
    delays_ms = np.array([sequence.next_ns() for _ in range(3 * SPIKE_EVERY)]) * 1e-6
    spikes = delays_ms > 200.0
    assert np.flatnonzero(spikes).tolist() == [SPIKE_EVERY - 1, 2 * SPIKE_EVERY - 1, 3 * SPIKE_EVERY - 1]
    calm = delays_ms[~spikes]
    assert calm.min() >= 80.0
    assert calm.max() <= 120.0
    assert calm.std() > 5.0


@pytest.mark.parametrize("wrong", [{"delay_ms": -1.0}, {"delay_ms": np.nan}, {"delay_ms": 0.0, "jitter": 1.5}])
def test_a_delay_that_cannot_be_is_refused(wrong: dict[str, float]):
    with pytest.raises(ConfigurationError, match="expected 0 to"):
        DelayModel(**wrong)


def test_metrics_of_a_known_motion():
    """A seam of 0.1 rad within a motion of 0.01 rad per step."""
    trace = episode("overlap", 0.0)
    steps = np.full(40, 0.01)
    steps[20] = 0.11
    base = PATH.start[0] + np.concatenate([[0.0], np.cumsum(steps)])
    positions = np.stack([base, np.zeros_like(base)], axis=1)
    seams = np.zeros(40, dtype=bool)
    seams[[0, 20]] = True
    states = np.full(40, int(ExecutionState.RUNNING))
    known = Trace(
        PERIOD_S, positions, positions, states, seams, np.zeros((0, 2)), (0, 3), (), "", trace.status, reached=False
    )
    metrics = measure(known, PATH)
    assert metrics.seam_jump_rad == pytest.approx(0.11)
    assert metrics.seam_excess_rad == pytest.approx(0.1)
    assert metrics.peak_acceleration == pytest.approx(0.1 / PERIOD_S**2)
    assert metrics.task_time_s == pytest.approx(0.8)
    assert metrics.delay_steps == 3
    assert not metrics.success


def test_touching_an_obstacle_is_found_and_passing_beside_it_is_not():
    time_s = np.arange(0.0, 15.0, PERIOD_S)
    for side in (1.0, -1.0):
        assert not PATH.collisions(PATH.at(time_s, side)).any()
    centre = (PATH.at(time_s, 1.0) + PATH.at(time_s, -1.0)) / 2.0
    assert PATH.collisions(centre).any()
    beside = round(2.3 / PERIOD_S)
    across = np.stack([PATH.at(time_s, side)[beside] for side in (1.0, -1.0)])
    assert PATH.collisions(across).tolist() == [True]  # a jump over it counts
