# SPDX-License-Identifier: Apache-2.0
"""A policy that knows the solution solves everything, and nothing but an episode's seed decides about it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from policy_ros.errors import ActionError
from policy_ros.evaluation import EpisodeResult, EvaluationOptions, EvaluationResult, evaluate
from policy_ros.evaluation.fitting import make_task
from policy_ros.evaluation.pick_task import PickTask


def rows(result: EvaluationResult) -> list[EpisodeResult]:
    return list(result.episodes)


def test_a_policy_that_knows_the_solution_succeeds_in_every_episode(scripted):
    result = evaluate(scripted(), EvaluationOptions(episodes=8, seed=100))
    assert result.success_rate == 1.0
    assert [episode.seed for episode in result.episodes] == list(range(100, 108))
    assert result.rate_hz == 50.0
    for episode in result.episodes:
        assert episode.inferences == -(-episode.steps // 15)
        assert episode.seconds == pytest.approx(episode.steps / 50.0)
        assert episode.best_reward == 1.0
    assert result.mean_steps == np.mean([episode.steps for episode in result.episodes])
    assert 100 < result.mean_steps < 600


def test_a_policy_that_knows_nothing_fails_when_the_time_is_over(network):
    result = evaluate(network("act"), EvaluationOptions(episodes=3, time_limit_s=0.5))
    assert result.success_rate == 0.0
    assert [(episode.success, episode.steps, episode.inferences) for episode in result.episodes] == [(False, 25, 3)] * 3


def test_an_episode_depends_on_its_own_seed_alone(scripted):
    together = evaluate(scripted(), EvaluationOptions(episodes=4, seed=7))
    alone = evaluate(scripted(), EvaluationOptions(episodes=1, seed=9))
    assert together.episodes[2] == alone.episodes[0]


@pytest.mark.parametrize("batch_size", [2, 7])
def test_the_result_does_not_depend_on_the_batch_size(scripted, batch_size: int):
    options = EvaluationOptions(episodes=7, seed=3, batch_size=1)
    one_by_one = evaluate(scripted(tremor=0.01), options)
    assert rows(evaluate(scripted(tremor=0.01), dataclasses.replace(options, batch_size=batch_size))) == rows(
        one_by_one
    )
    assert rows(evaluate(scripted(), options)) != rows(one_by_one), "the noise makes a difference"


def test_the_cameras_noise_is_that_of_the_episode(network):
    """With random weights the end of an episode tells nothing, so the pictures themselves are compared."""
    seen: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for batch_size, pictures in seen.items():
        policy = network("act")
        encode = policy.units.encode

        def look(batch, encode=encode, pictures=pictures):
            pictures += list(batch["observation.images.top"].numpy())
            return encode(batch)

        policy.units.encode = look
        evaluate(policy, EvaluationOptions(episodes=2, batch_size=batch_size, time_limit_s=0.2))
    np.testing.assert_array_equal(seen[1], seen[2])
    assert not np.array_equal(*seen[1])


@pytest.mark.parametrize(
    "options",
    [{"n_action_steps": 4}, {"n_action_steps": 1, "temporal_ensemble_coeff": 0.01}],
    ids=["chunks", "ensemble"],
)
def test_actions_are_those_of_select_action_step_by_step(network, options, monkeypatch: pytest.MonkeyPatch):
    quiet = EvaluationOptions(episodes=1, seed=6, time_limit_s=0.3, image_noise=0.0)
    policy = network("act", **options)
    task = make_task(policy, quiet)
    policy.reset()
    task.reset(6)
    expected = []
    while not task.over:
        expected.append(policy.select_action(task.observe()))
        task.step(expected[-1])
    actions: list[np.ndarray] = []
    step = PickTask.step
    monkeypatch.setattr(PickTask, "step", lambda self, action: actions.append(action) or step(self, action))
    evaluate(policy, quiet)
    assert len(actions) == 15
    np.testing.assert_allclose(actions, expected, atol=1e-5)


def test_all_environments_are_in_every_pass_of_the_network(scripted):
    policy = scripted()
    evaluate(policy, EvaluationOptions(episodes=4, batch_size=4, time_limit_s=1.0))
    assert policy.batches == [4] * 4, "50 steps in chunks of 15"


def test_progress_is_told_every_episode_once(scripted):
    told: list[EpisodeResult] = []
    result = evaluate(scripted(), EvaluationOptions(episodes=5, batch_size=2), progress=told.append)
    assert sorted(told, key=lambda row: row.seed) == rows(result)


def test_several_processes_give_the_same_result(network):
    options = EvaluationOptions(episodes=5, seed=2, batch_size=2, time_limit_s=0.3)
    policy = network("flow")
    told: list[EpisodeResult] = []
    shared = evaluate(policy, dataclasses.replace(options, workers=2), progress=told.append)
    assert shared.episodes == evaluate(policy, options).episodes
    assert len(told) == 5


def test_training_goes_on_in_the_modes_that_the_modules_had(network):
    policy = network("act")
    policy.train()
    policy.model.encoder.eval()
    before = [module.training for module in policy.modules()]
    evaluate(policy, EvaluationOptions(episodes=1, time_limit_s=0.1))
    assert [module.training for module in policy.modules()] == before


def test_evaluation_leaves_the_global_random_numbers_alone(network):
    policy = network("flow")
    state = torch.get_rng_state()
    np.random.seed(0)  # noqa: NPY002 - the state that must not move
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(policy, EvaluationOptions(episodes=2, time_limit_s=0.1))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("mode", ["", "sync"])
def test_actions_that_are_not_finite_end_the_evaluation(scripted, mode: str):
    policy = scripted()
    infer = policy.infer
    policy.infer = lambda batch, noise: infer(batch, noise) * float("nan")
    with pytest.raises(ActionError, match="episode of seed 5"):
        evaluate(policy, EvaluationOptions(episodes=1, seed=5, mode=mode, time_limit_s=1.0))
