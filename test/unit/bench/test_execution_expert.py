# SPDX-License-Identifier: Apache-2.0
"""The expert: what it does from a position, and the policy that imitates it perfectly."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.bench.execution.expert import DEVIATION_RAD, Expert, smooth_covariance
from policy_ros.bench.execution.stub import MixturePolicy
from policy_ros.bench.execution.task import HORIZON, PERIOD_S, ForkedPath
from policy_ros.data import OBSERVATION_STATE

PATH = ForkedPath()
EXPERT = Expert(PATH)
FORK_S = 1.0  # the first
UP, DOWN = 1.0, -1.0


def shares(position: np.ndarray) -> np.ndarray:
    weights = np.exp(EXPERT.continuations(position).log_weights)
    return weights / weights.sum()


def test_chunks_deviate_smoothly_from_nothing_to_the_full_deviation():
    covariance = smooth_covariance(50, deviation=0.3, length=12.5)
    deviation = np.sqrt(np.diag(covariance))
    assert deviation[0] < 0.03  # one row after the present
    assert deviation[-1] == pytest.approx(0.3, rel=1e-3)
    assert (np.diff(deviation) > 0.0).all()
    assert covariance[30, 31] / covariance[30, 30] > 0.99  # neighbours move together


def test_both_ways_are_as_likely_before_a_fork_and_the_position_tells_beyond():
    assert shares(PATH.at(np.array(FORK_S), UP)) == pytest.approx([0.5, 0.5])
    beyond = np.array(FORK_S + 0.5)
    assert shares(PATH.at(beyond, UP))[0] > 0.99
    assert shares(PATH.at(beyond, DOWN))[1] > 0.99


def test_the_ways_on_begin_where_the_arm_is_and_lead_back_to_the_path():
    time_s = np.array(3.0)
    astray = PATH.at(time_s, UP) + np.array([0.0, 0.05])
    means = EXPERT.continuations(astray).means[0]  # (H, A), the upper way
    reference = PATH.at(time_s + PERIOD_S * np.arange(1, HORIZON + 1), UP)
    assert means[0] - reference[0] == pytest.approx([0.0, 0.05], abs=1e-3)
    assert means[-1] == pytest.approx(reference[-1], abs=1e-3)


def test_demonstrations_are_those_ways_with_the_expert_s_deviation():
    positions, chunks = EXPERT.demonstrate(4000, np.random.default_rng(0))
    means = EXPERT.continuations(positions).means  # (N, M, H, A)
    apart = chunks[:, None] - means
    nearer = np.argmin(np.abs(apart[..., 1]).mean(axis=-1), axis=1)
    strayed = apart[np.arange(len(apart)), nearer]
    assert strayed[:, -1].std(axis=0) == pytest.approx([DEVIATION_RAD, DEVIATION_RAD], rel=0.05)
    assert strayed[:, 0].std(axis=0).max() < 0.1 * DEVIATION_RAD
    assert np.mean(nearer) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("time_s", "two_ways"), [(0.7, True), (3.55, False)])
def test_the_stub_samples_what_the_expert_does_before_a_fork_and_between_two(time_s: float, two_ways: bool):
    position = PATH.at(np.array(time_s), UP)
    policy = MixturePolicy(EXPERT, denoising_steps=50, noise=np.random.default_rng(0))
    observation = {OBSERVATION_STATE: position.astype(np.float32)}
    chunks = np.stack([policy.predict(observation) for _ in range(300)])
    means = EXPERT.continuations(position).means
    above = chunks[:, -1, 1] > means.mean(axis=0)[-1, 1]
    if two_ways:
        assert np.mean(above) == pytest.approx(0.5, abs=0.1)
        assert chunks[above].mean(axis=0) == pytest.approx(means[0], abs=0.02)
        assert chunks[~above].mean(axis=0) == pytest.approx(means[1], abs=0.02)
    else:
        assert means[0] == pytest.approx(means[1], abs=2e-3)
        assert chunks.mean(axis=0) == pytest.approx(means[0], abs=0.01)
    assert chunks[:, -1, 0].std() == pytest.approx(DEVIATION_RAD, rel=0.15)
