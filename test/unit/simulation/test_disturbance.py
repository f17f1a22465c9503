# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from policy_ros.simulation.disturbance import Disturbance

DEVIATION = np.array([0.02, 0.0, 0.01])


def offsets(seed: int, steps: int, dt_s: float = 0.01) -> np.ndarray:
    disturbance = Disturbance(DEVIATION, 0.3, seed)
    return np.stack([disturbance.advance(dt_s) for _ in range(steps)])


@pytest.mark.parametrize("dt_s", [0.01, 0.1])
def test_offsets_have_the_deviation_asked_for_at_any_step(dt_s: float):
    wandered = offsets(seed=1, steps=40_000, dt_s=dt_s)[500:]
    assert wandered.std(axis=0) == pytest.approx(DEVIATION, rel=0.1)
    assert np.abs(wandered.mean(axis=0)) == pytest.approx(np.zeros(3), abs=0.003)


def test_offsets_begin_at_zero_and_change_little_from_step_to_step():
    wandered = offsets(seed=2, steps=3000)
    changes = np.abs(np.diff(np.vstack([np.zeros(3), wandered]), axis=0))
    assert np.all(changes <= 0.2 * DEVIATION)


def test_same_seed_gives_the_same_offsets_also_after_a_restart():
    disturbance = Disturbance(DEVIATION, 0.3, seed=7)
    first = [disturbance.advance(0.01) for _ in range(50)]
    disturbance.restart(7)
    assert np.array_equal(first, [disturbance.advance(0.01) for _ in range(50)])
    assert not np.array_equal(first, offsets(seed=8, steps=50))
