# SPDX-License-Identifier: Apache-2.0
"""Through the executor: delays count as on the robot, and the gate has the last word."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from policy_ros.errors import ConfigurationError
from policy_ros.evaluation import EvaluationOptions, EvaluationResult, evaluate
from policy_ros.parameters.node import ExecutionParameters, GateParameters, JointParameters, NodeParameters
from policy_ros.simulation.kinematics import JOINT_NAMES

EPISODES = EvaluationOptions(episodes=4, seed=20)


def executed(policy, mode: str, delay_ms: float = 0.0, **changes) -> EvaluationResult:
    return evaluate(policy, dataclasses.replace(EPISODES, mode=mode, delay_ms=delay_ms, **changes))


def lengths(result: EvaluationResult) -> list[tuple[bool, int]]:
    return [(episode.success, episode.steps) for episode in result.episodes]


def test_sync_without_delay_is_chunk_after_chunk(scripted):
    assert lengths(executed(scripted(), "sync")) == lengths(evaluate(scripted(), EPISODES))


@pytest.mark.parametrize("mode", ["sync", "overlap", "blend", "ensemble"])
def test_a_policy_that_knows_the_solution_succeeds_in_every_mode(scripted, mode: str):
    assert executed(scripted(), mode).success_rate == 1.0


def test_in_sync_every_inference_costs_its_delay(scripted):
    base, late = executed(scripted(), "sync"), executed(scripted(), "sync", 200.0)
    assert late.success_rate == 1.0
    for one, other in zip(base.episodes, late.episodes, strict=True):
        assert other.steps >= one.steps + 10 * (other.inferences - 2), "10 periods of 20 ms for each"
        assert other.execution.delay_steps == 0.0, "nothing is executed meanwhile"


@pytest.mark.parametrize(("delay_ms", "steps"), [(0.0, 0.0), (19.0, 0.0), (60.0, 3.0), (200.0, 10.0)])
def test_in_overlap_the_delay_is_executed_steps(scripted, delay_ms: float, steps: float):
    result = executed(scripted(), "overlap", delay_ms)
    assert [episode.execution.delay_steps for episode in result.episodes] == [steps] * 4
    assert all(episode.execution.holds == 0 for episode in result.episodes)


def test_the_robot_stands_until_the_first_chunk_is_there(network):
    result = executed(network("act"), "overlap", 400.0, time_limit_s=0.3)
    assert [(episode.steps, episode.inferences) for episode in result.episodes] == [(15, 1)] * 4


def test_rtc_guides_a_policy_that_can_be_guided(network):
    result = executed(network("flow"), "rtc", 60.0, episodes=2, time_limit_s=1.0)
    for episode in result.episodes:
        assert episode.execution.guided == episode.inferences - 1, "all but the first"
        assert episode.execution.delay_steps == 3.0


def test_rtc_with_a_policy_that_cannot_be_guided_is_refused(network):
    with pytest.raises(ConfigurationError, match="expected a policy that can be guided"):
        executed(network("act"), "rtc")


def test_an_executed_episode_repeats_itself_whatever_came_before(network):
    policy = network("flow")
    together = executed(policy, "rtc", 60.0, time_limit_s=0.5)
    alone = executed(policy, "rtc", 60.0, seed=22, episodes=1, time_limit_s=0.5)
    assert together.episodes[2] == alone.episodes[0]


def test_the_gate_has_the_limits_of_the_parameters(scripted):
    slow = NodeParameters(gate=GateParameters(max_velocity=(0.1, 0.1, 0.1, 0.02)))
    result = executed(scripted(), "sync", parameters=slow, time_limit_s=4.0)
    assert all(episode.execution.gate_clamped > 100 for episode in result.episodes)
    assert result.success_rate == 0.0
    assert executed(scripted(), "sync", time_limit_s=4.0).episodes[0].execution.gate_clamped == 0


def test_the_gate_takes_limits_from_the_environments_description_too(scripted):
    """Its gripper closes with 0.15 m/s; the scripted solution closes it at once."""
    described = NodeParameters(gate=GateParameters(use_robot_description=True))
    result = executed(scripted(), "sync", parameters=described)
    assert all(episode.execution.gate_clamped > 10 for episode in result.episodes)


def test_a_hold_that_only_a_person_ends_is_told(scripted):
    touchy = NodeParameters(gate=GateParameters(max_jump=(1e-6, 1e-6, 1e-6, 1e-6)))
    episode = executed(scripted(), "sync", parameters=touchy, time_limit_s=1.0).episodes[0]
    assert not episode.success
    assert episode.execution.holds == 1
    assert "joint" in episode.execution.hold


def test_chunks_too_short_for_the_delay_are_told(scripted):
    episode = executed(scripted(chunk_size=8, n_action_steps=8), "overlap", 300.0, time_limit_s=3.0).episodes[0]
    assert "expected d <= s <= H - d" in episode.execution.degradation
    assert episode.execution.holds > 0


def test_units_of_the_parameters_are_those_of_the_policy(scripted):
    """The same policy in tenths of a radian, and 1 rad off."""
    parameters = NodeParameters(joints=JointParameters(names=JOINT_NAMES, scale=(10.0,) * 4, offset=(1.0,) * 4))
    policy = scripted()
    infer = policy.infer

    def in_tenths(batch, noise):
        robot = {**batch, "observation.state": (batch["observation.state"] - 1.0) / 10.0}
        return infer(robot, noise) * 10.0 + 1.0

    policy.infer = in_tenths
    plain = evaluate(policy, dataclasses.replace(EPISODES, parameters=parameters))
    assert plain.success_rate == 1.0
    assert executed(policy, "sync", parameters=parameters).success_rate == 1.0


def test_the_rate_is_that_of_the_parameters_unless_another_is_asked_for(network):
    parameters = NodeParameters(execution=ExecutionParameters(rate_hz=25.0))
    options = dataclasses.replace(EPISODES, episodes=1, parameters=parameters, time_limit_s=0.4)
    assert [evaluate(network("act"), options).rate_hz, evaluate(network("act"), options).episodes[0].steps] == [
        25.0,
        10,
    ]
    faster = evaluate(network("act"), dataclasses.replace(options, rate_hz=100.0))
    assert (faster.rate_hz, faster.episodes[0].steps, faster.mean_seconds) == (100.0, 40, pytest.approx(0.4))


def test_what_a_policy_raises_ends_the_evaluation(scripted):
    policy = scripted()

    def broken(batch, noise):
        raise np.linalg.LinAlgError("singular")

    policy.infer = broken
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        executed(policy, "overlap", 100.0)
