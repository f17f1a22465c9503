# SPDX-License-Identifier: Apache-2.0
"""What the base does for every policy, seen through a tiny ACT and a policy that echoes what it saw."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from policy_ros.data import FeatureSpec, FeatureType, Observation
from policy_ros.errors import ActionError, ConfigurationError, ObservationError
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.history import ObservationHistory


@dataclass(frozen=True, kw_only=True)
class EchoConfig(PolicyConfig):
    uses_noise = True
    chunk_size: int = 3


class EchoPolicy(Policy):
    """Row ``i`` of a chunk is ``(oldest state, newest state, number of the call)``."""

    name = "echo"
    config_class = EchoConfig

    def __init__(self, config, normalization=None):
        super().__init__(config, normalization)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.calls = 0
        self.rows = config.chunk_size
        self.noise = None

    def infer(self, batch, noise):
        self.calls += 1
        self.noise = noise
        state = batch["observation.state"].reshape(-1)
        row = torch.tensor([state[0], state[-1], float(self.calls)])
        return row.expand(1, self.rows, 3) * self.scale

    def loss(self, batch):
        return self.scale * batch["action"].mean(), {}


def echo(**changes) -> EchoPolicy:
    config = EchoConfig(
        input_features={"observation.state": FeatureSpec(FeatureType.STATE, (1,))},
        output_features={"action": FeatureSpec(FeatureType.ACTION, (3,))},
        **changes,
    )
    return EchoPolicy(config)


def state(value: float) -> dict[str, np.ndarray]:
    return {"observation.state": np.array([value], np.float32)}


def test_predict_returns_a_chunk_in_float32_and_keeps_no_state(build, observe):
    policy = build()
    first = policy.predict(observe(0))
    policy.predict(observe(1))
    assert first.shape == (6, 2) and first.dtype == np.float32
    np.testing.assert_array_equal(policy.predict(observe(0)), first)


def test_predict_does_not_disturb_select_action(build, observe):
    alone, disturbed = build(), build()
    for step in range(8):
        disturbed.predict(observe(100 + step))
        np.testing.assert_array_equal(disturbed.select_action(observe(step)), alone.select_action(observe(step)))


def test_select_action_walks_the_first_rows_of_each_chunk(build, observe):
    policy = build()
    for start in (0, 3):
        chunk = policy.predict(observe(start))
        for row in range(3):
            np.testing.assert_allclose(policy.select_action(observe(start + row)), chunk[row], atol=1e-6)


def test_reset_drops_the_rest_of_the_chunk(build, observe):
    policy = build()
    policy.select_action(observe(0))
    policy.reset()
    np.testing.assert_allclose(policy.select_action(observe(1)), policy.predict(observe(1))[0], atol=1e-6)


def test_an_ensemble_asks_at_every_step_and_averages(build, observe):
    policy = build(temporal_ensemble_coeff=0.5, n_action_steps=1)
    chunks = [policy.predict(observe(step)) for step in range(2)]
    np.testing.assert_allclose(policy.select_action(observe(0)), chunks[0][0], atol=1e-5)
    old, new = 1.0, np.exp(-0.5)
    expected = (old * chunks[0][1] + new * chunks[1][0]) / (old + new)
    np.testing.assert_allclose(policy.select_action(observe(1)), expected, atol=1e-5)


def test_the_history_starts_with_copies_and_ends_with_the_newest():
    policy = echo(n_obs_steps=3, n_action_steps=1)
    seen = [policy.select_action(state(value)).tolist()[:2] for value in (1.0, 2.0, 3.0, 4.0)]
    assert seen == [[1, 1], [1, 2], [1, 3], [2, 4]]


def test_the_history_grows_while_the_queue_is_served():
    policy = echo(n_obs_steps=2, n_action_steps=3)
    actions = [policy.select_action(state(value)).tolist() for value in (1.0, 2.0, 3.0, 4.0)]
    assert actions[2] == [1, 1, 1] and actions[3] == [3, 4, 2]


def test_the_history_is_safe_from_whoever_reuses_an_array():
    history = ObservationHistory(2)
    array = np.zeros(3, np.float32)
    history.add({"observation.state": array})
    array += 1.0
    history.add({"observation.state": array})
    np.testing.assert_array_equal(history.recall()["observation.state"], [[0.0] * 3, [1.0] * 3])


def test_predict_takes_the_history_with_a_leading_axis():
    chunk = echo(n_obs_steps=2).predict({"observation.state": np.array([[5], [6]], np.float32)})
    assert chunk[0].tolist()[:2] == [5, 6]
    with pytest.raises(ObservationError, match=r"'observation.state': expected \(2, 1,\)"):
        echo(n_obs_steps=2).predict(state(5.0))


def test_noise_reaches_a_policy_that_uses_it_and_no_other(build, observe):
    policy = echo()
    policy.predict(state(0.0), noise=np.full((1, 3, 3), 2.0))
    assert policy.noise.dtype == torch.float32 and policy.noise.shape == (1, 3, 3)
    with pytest.raises(ConfigurationError, match="'act' uses no noise"):
        build().predict(observe(0), noise=np.zeros((1, 6, 2)))


def test_fault_08_a_chunk_of_the_wrong_size_is_found_by_warming_up():
    policy = echo()
    policy.warmup()
    policy.rows = 2
    with pytest.raises(ActionError, match=r"expected a chunk of shape \(3, 3\) \(H, A\), got \(2, 3\)"):
        policy.warmup()


def test_fault_08_weights_that_are_not_finite_are_found_by_warming_up():
    policy = echo()
    policy.scale.data.fill_(torch.nan)
    with pytest.raises(ActionError, match="not finite"):
        policy.warmup()


def test_warming_up_leaves_the_state_alone(build, observe):
    policy, other = build(), build()
    for step in range(4):
        policy.warmup()
        np.testing.assert_array_equal(policy.select_action(observe(step)), other.select_action(observe(step)))


def test_inference_is_in_evaluation_mode_even_after_training(build, observe):
    policy = build(dropout=0.9)
    policy.train()
    np.testing.assert_array_equal(policy.predict(observe(0)), policy.predict(observe(0)))


def test_freezing_leaves_nothing_to_train(build):
    policy = build()
    policy.freeze()
    assert not policy.training
    assert not any(parameter.requires_grad for parameter in policy.parameters())


def test_the_normalised_chunk_can_be_differentiated_for_guidance(build, observe):
    policy = build()
    policy.freeze()
    policy.model.decoder_pos_embed.weight.requires_grad_(True)
    policy.predict_normalized(observe(0)).sum().backward()
    assert policy.model.decoder_pos_embed.weight.grad.abs().sum() > 0


def test_predict_works_from_another_thread(build, observe):
    policy, results = build(), []
    thread = threading.Thread(target=lambda: results.append(policy.predict(observe(0))))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], policy.predict(observe(0)))


def test_the_frozen_arrays_of_an_observation_are_taken_without_a_warning(build, observe, recwarn):
    frozen = Observation(features=observe(0), stamps_ns={}, stamp_ns=0)
    np.testing.assert_array_equal(build().predict(frozen.features), build().predict(observe(0)))
    assert not recwarn.list


def test_an_observation_under_its_source_key_is_renamed(build, observe):
    policy = build()
    expected = policy.predict(observe(0))
    policy.rename_map = {"robot/joints": "observation.state"}
    renamed = observe(0)
    renamed["robot/joints"] = renamed.pop("observation.state")
    np.testing.assert_array_equal(policy.predict(renamed), expected)
    np.testing.assert_array_equal(policy.predict(observe(0)), expected)
