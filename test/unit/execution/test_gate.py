# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.execution import Gate, GateLimits, HoldCause, Motion

DT = 0.02
NAMES = ("shoulder", "elbow")


@pytest.fixture
def limits() -> GateLimits:
    return GateLimits(
        names=NAMES,
        lower=np.array([-1.0, -2.0]),
        upper=np.array([1.0, 2.0]),
        max_velocity=np.array([5.0, 5.0]),  # 0.1 per row
        max_jump=np.array([0.5, 0.5]),
        margin=0.1,
    )


def rows(*values: tuple[float, float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def still(*position: float) -> Motion:
    return Motion.at_rest(np.array(position))


def test_rows_within_all_limits_pass_unchanged(limits: GateLimits) -> None:
    wanted = rows((0.0, 0.0), (0.05, -0.05), (0.1, -0.1))
    result = Gate(limits).check(wanted, still(0.0, 0.0), np.zeros(2), DT)
    np.testing.assert_array_equal(result.rows, wanted)
    assert (result.clamped.any(), result.rejected, result.reason) == (False, 0, None)


def test_fault_09_positions_are_clamped_to_the_limits_with_margin(limits: GateLimits) -> None:
    result = Gate(limits).check(rows((0.95, 0.0), (0.9, 0.0)), still(0.9, 0.0), None, DT)
    assert result.rows is not None
    np.testing.assert_allclose(result.rows, [[0.9, 0.0], [0.9, 0.0]], atol=1e-6)
    assert result.clamped.tolist() == [True, False]


def test_fault_09_steps_are_limited_by_velocity_from_the_last_command_on(limits: GateLimits) -> None:
    result = Gate(limits).check(rows((0.3, 0.0), (0.3, 0.0), (0.3, 0.0), (0.3, 0.0)), still(0.0, 0.0), None, DT)
    assert result.rows is not None
    np.testing.assert_allclose(result.rows[:, 0], [0.1, 0.2, 0.3, 0.3], atol=1e-6)
    assert result.clamped.tolist() == [True, True, False, False]


def test_first_command_starts_from_the_measured_position(limits: GateLimits) -> None:
    result = Gate(limits).check(rows((0.3, 0.0)), None, np.array([0.0, 0.0]), DT)
    assert result.rows is not None
    np.testing.assert_allclose(result.rows, [[0.1, 0.0]], atol=1e-6)


def test_a_robot_outside_its_limits_returns_at_limited_speed(limits: GateLimits) -> None:
    result = Gate(limits).check(rows((0.9, 0.0)), None, np.array([1.3, 0.0]), DT)
    assert result.rows is not None
    np.testing.assert_allclose(result.rows, [[1.2, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "detail"), [((0.95, 0.0), "shoulder: expected at most 0.9"), ((0.0, 0.3), "elbow: expected at most 0.1")]
)
def test_fault_09_rejecting_refuses_what_would_be_clamped(
    limits: GateLimits, wanted: tuple[float, float], detail: str
) -> None:
    start = still(0.9, 0.0) if wanted[0] else still(0.0, 0.0)
    result = Gate(replace(limits, reject=True)).check(rows(wanted), start, None, DT)
    assert (result.rows, result.rejected, result.reason) == (None, 1, HoldCause.LIMIT)
    assert result.detail.startswith(detail)


def test_rejecting_keeps_the_rows_before_the_first_bad_one(limits: GateLimits) -> None:
    wanted = rows((0.05, 0.0), (0.1, 0.0), (0.4, 0.0), (0.4, 0.0))
    result = Gate(replace(limits, reject=True)).check(wanted, still(0.0, 0.0), None, DT)
    np.testing.assert_array_equal(result.rows, wanted[:2])
    assert (result.rejected, result.clamped.tolist()) == (2, [False, False])


@pytest.mark.parametrize(
    ("previous", "measured", "label"),
    [([0.0, 0.6], [0.0, 0.0], "last command"), ([0.0, 0.0], [0.0, -0.6], "measured position")],
)
def test_fault_09_a_jump_from_the_last_command_or_the_measured_position_is_refused(
    limits: GateLimits, previous: list[float], measured: list[float], label: str
) -> None:
    result = Gate(limits).check(rows((0.0, 0.0)), still(*previous), np.array(measured), DT)
    assert (result.rows, result.reason) == (None, HoldCause.JUMP)
    assert f"elbow: expected at most 0.5 from the {label}" in result.detail


def test_a_joint_that_is_not_measured_is_not_compared_but_the_others_are(limits: GateLimits) -> None:
    gate, measured = Gate(limits), np.array([0.0, np.nan])
    free = gate.check(rows((0.0, 1.5)), None, measured, DT)
    assert free.rows is not None
    np.testing.assert_allclose(free.rows, [[0.0, 1.5]])
    assert gate.check(rows((0.7, 1.5)), None, measured, DT).reason is HoldCause.JUMP


def test_limits_that_need_a_reference_refuse_a_first_command_without_one(limits: GateLimits) -> None:
    assert Gate(limits).check(rows((0.0, 0.0)), None, None, DT).reason is HoldCause.JUMP
    assert Gate(GateLimits.unlimited(NAMES)).check(rows((0.0, 0.0)), None, None, DT).rows is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_06_one_value_that_is_not_finite_refuses_the_window(limits: GateLimits, bad: float) -> None:
    result = Gate(limits).check(rows((0.0, 0.0), (0.0, bad)), still(0.0, 0.0), None, DT)
    assert (result.rows, result.rejected, result.reason) == (None, 2, HoldCause.NON_FINITE_ACTION)


@pytest.mark.parametrize("shape", [(3, 1), (3, 3), (0, 2), (2,)])
def test_fault_08_rows_of_the_wrong_size_are_refused(limits: GateLimits, shape: tuple[int, ...]) -> None:
    assert Gate(limits).check(np.zeros(shape), still(0.0, 0.0), None, DT).reason is HoldCause.INVALID_ACTION


def test_measured_positions_of_the_wrong_size_refuse_the_window(limits: GateLimits) -> None:
    result = Gate(limits).check(rows((0.0, 0.0)), None, np.zeros(3), DT)
    assert (result.rows, result.reason) == (None, HoldCause.INTERNAL_ERROR)


@pytest.mark.parametrize("reject", [False, True])
@pytest.mark.parametrize("seed", range(50))
def test_whatever_comes_in_only_finite_rows_within_every_limit_go_out(
    limits: GateLimits, seed: int, reject: bool
) -> None:
    random = np.random.default_rng(seed)
    specials = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0])
    gate, previous, emitted = Gate(replace(limits, reject=reject)), np.zeros(2), 0
    for _ in range(40):
        wanted = (previous + random.normal(0.0, 0.2, (random.integers(1, 12), 2))).astype(np.float32)
        if random.random() < 0.3:
            wanted[random.integers(len(wanted)), random.integers(2)] = random.choice(specials)
        result = gate.check(wanted, still(*previous), previous if random.random() < 0.5 else None, DT)
        if result.rows is None:
            assert result.reason is not None and result.rejected == len(wanted)
            continue
        emitted += 1
        assert np.all(np.isfinite(result.rows))
        assert len(result.rows) + result.rejected == len(wanted) and len(result.clamped) == len(result.rows) > 0
        assert np.all(np.abs(result.rows) <= np.array([0.9, 1.9]) + 1e-6)
        steps = np.diff(np.vstack([previous, result.rows]), axis=0)
        assert np.all(np.abs(steps) <= 0.1 + 1e-6)
        previous = result.rows[0]
    assert emitted > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": np.zeros(3)}, "gate lower: expected one value for each of 2 joints"),
        ({"max_velocity": np.array([1.0, np.nan])}, "gate max_velocity: expected one value"),
        ({"max_velocity": np.array([1.0, 0.0])}, "gate max_velocity: expected positive"),
        ({"max_jump": np.array([-1.0, 1.0])}, "gate max_jump: expected positive"),
        ({"margin": -0.1}, "gate margin: expected 0 or more"),
        ({"margin": 1.0}, "gate limits of shoulder: expected lower"),
    ],
)
def test_limits_that_cannot_work_are_refused(limits: GateLimits, change: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(limits, **change)
