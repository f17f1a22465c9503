# SPDX-License-Identifier: Apache-2.0
"""The average of weights follows, forgets its start, and goes on where it was."""

from __future__ import annotations

import pytest
import torch
from support.synthetic_data import FEATURES, TINY, options

from policy_ros.policies import make_policy
from policy_ros.training.ema import AveragedPolicy
from policy_ros.training.policy_options import policy_options


@pytest.fixture
def policy():
    torch.manual_seed(0)
    chosen = options(policy="flow", overrides=TINY)
    return make_policy("flow", policy_options(chosen, FEATURES), device="cpu")


def set_all(policy, value: float) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(value)


def value_of(average: AveragedPolicy) -> float:
    values = {float(parameter.mean()) for parameter in average.policy.parameters()}
    assert max(values) - min(values) < 1e-6
    return max(values)


def test_it_begins_as_the_policy_itself(policy):
    set_all(policy, 3.0)
    average = AveragedPolicy(policy, 0.999)
    average.update(policy)
    assert value_of(average) == 3.0


def test_the_decay_warms_up(policy):
    average = AveragedPolicy(policy, 0.999)
    set_all(policy, 1.0)
    average.update(policy)
    set_all(policy, 0.0)
    expected = 1.0
    for updates in range(1, 50):
        average.update(policy)
        expected *= (1 + updates) / (10 + updates)
    assert value_of(average) == pytest.approx(expected, rel=1e-4)
    assert value_of(average) < 1e-6  # with a decay of 0.999 from the start it would be 0.95


def test_in_the_long_run_it_has_the_decay_that_was_asked_for(policy):
    average = AveragedPolicy(policy, 0.5)
    for _ in range(20):
        set_all(policy, 1.0)
        average.update(policy)
    set_all(policy, 0.0)
    average.update(policy)
    assert value_of(average) == pytest.approx(0.5)


def test_the_policy_itself_is_left_alone(policy):
    average = AveragedPolicy(policy.train(), 0.9)
    set_all(policy, 1.0)
    average.update(policy)
    set_all(policy, 2.0)
    average.update(policy)
    assert {float(parameter.detach().mean()) for parameter in policy.parameters()} == {2.0}
    assert policy.training
    assert not average.policy.training
    assert not any(parameter.requires_grad for parameter in average.policy.parameters())


def test_it_goes_on_where_it_was(policy):
    average, other = AveragedPolicy(policy, 0.99), AveragedPolicy(policy, 0.99)
    for value in (1.0, 2.0, 3.0):
        set_all(policy, value)
        average.update(policy)
    other.load_state_dict(average.state_dict())
    set_all(policy, 4.0)
    for each in (average, other):
        each.update(policy)
    assert value_of(other) == value_of(average)
