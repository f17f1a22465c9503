# SPDX-License-Identifier: Apache-2.0
"""What the base does around every guided policy, seen through one that notes what it is guided toward."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ActionError, ConfigurationError, ObservationError
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.normalization import Normalization
from policy_ros.rtc import SCHEDULES, GuidanceOptions, inference_weights

H, A = 6, 2
MEAN, STD = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
OBSERVATION = {"observation.state": np.zeros(1, np.float32)}


@dataclass(frozen=True, kw_only=True)
class NotingConfig(PolicyConfig):
    supports_guidance = True
    uses_noise = True
    chunk_size: int = H


class NotingPolicy(Policy):
    name = "noting"
    config_class = NotingConfig

    def __init__(self, config, normalization=None):
        super().__init__(config, normalization)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.target: Any = None
        self.noise: Any = None
        self.modes: Any = None

    def infer(self, batch, noise):
        return torch.zeros(1, H, A) * self.scale

    def infer_guided(self, batch, noise, target):
        self.target, self.noise = target, noise
        self.modes = (torch.is_inference_mode_enabled(), torch.is_grad_enabled(), self.training)
        rows = torch.zeros(1, H, A)
        rows[:, : target.prefix.shape[1]] = target.prefix
        return rows * self.scale

    def loss(self, batch):
        return self.scale * 1.0, {}


@pytest.fixture
def policy() -> NotingPolicy:
    config = NotingConfig(
        input_features={"observation.state": FeatureSpec(FeatureType.STATE, (1,))},
        output_features={"action": FeatureSpec(FeatureType.ACTION, (A,))},
        normalization_mapping={FeatureType.ACTION: NormalizationMode.MEAN_STD},
    )
    return NotingPolicy(config, Normalization(config, {"action": {"mean": MEAN, "std": STD}}))


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, A)).astype(np.float32)


def guide(policy: Policy, prefix: Any, **changes: Any) -> np.ndarray:
    return policy.guided_inference(OBSERVATION, **{"prefix": prefix, "delay": 2, "execution_horizon": 2, **changes})


def test_the_policy_sees_the_prefix_in_its_own_units_and_answers_in_those_of_the_robot(policy) -> None:
    prefix = rows(4)
    chunk = guide(policy, prefix)
    torch.testing.assert_close(policy.target.prefix[0], (torch.from_numpy(prefix) - MEAN) / STD)
    assert chunk.shape == (H, A) and chunk.dtype == np.float32
    np.testing.assert_allclose(chunk[:4], prefix, atol=1e-6)
    np.testing.assert_allclose(chunk[4:], np.broadcast_to(MEAN, (2, A)), atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("delay", "s", "count"), [(0, 2, 4), (2, 3, 3), (3, 3, 3), (5, 4, 2), (2, 2, 1), (1, 6, 0)])
def test_rows_weigh_what_delay_and_execution_horizon_say(policy, schedule, delay, s, count) -> None:
    options = GuidanceOptions(schedule=schedule)
    guide(policy, rows(count), delay=delay, execution_horizon=s, options=options)
    expected = inference_weights(delay=delay, execution_horizon=s, horizon=H, rows=count, schedule=schedule)
    np.testing.assert_allclose(policy.target.weights.numpy(), expected, atol=1e-7)
    assert policy.target.options is options


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_jacobian_can_be_taken_but_parameters_are_not_tracked(policy, around) -> None:
    policy.train()
    with around():
        guide(policy, rows(4))
    assert policy.modes == (False, False, False)


def test_noise_reaches_the_policy(policy) -> None:
    guide(policy, rows(4), noise=np.full((1, H, A), 3.0))
    assert policy.noise.dtype == torch.float32 and policy.noise.shape == (1, H, A)


def test_it_works_from_another_thread(policy) -> None:
    results: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: results.append(guide(policy, rows(4))))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], guide(policy, rows(4)))


def test_it_keeps_no_state(policy) -> None:
    policy.select_action(OBSERVATION)
    before = len(policy._queue)
    guide(policy, rows(4))
    assert len(policy._queue) == before


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (rows(H + 1), r"expected \(N, 2\) with N up to 6 rows, got \(7, 2\)"),
        (rows(4)[:, :1], r"got \(4, 1\)"),
        (rows(4)[0], r"got \(2,\)"),
        (np.full((4, A), np.nan), "expected finite rows"),
        (np.full((4, A), np.inf), "expected finite rows"),
    ],
)
def test_a_prefix_that_cannot_be_continued_is_refused(policy, prefix, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        guide(policy, prefix)


def test_rows_that_do_not_count_need_not_be_finite(policy) -> None:
    prefix = rows(6)
    prefix[4:] = np.nan  # from H - s on
    guide(policy, prefix)
    assert torch.isfinite(policy.target.prefix[0, :4]).all()


def test_an_observation_that_lacks_a_feature_is_refused(policy) -> None:
    with pytest.raises(ObservationError, match=r"missing observation\.state"):
        policy.guided_inference({}, prefix=rows(4), delay=2, execution_horizon=2)


def test_warming_up_guides_too_so_that_the_first_real_one_is_not_the_slow_one(policy) -> None:
    policy.warmup()
    assert policy.target is not None and policy.target.weights.max() == 1.0


def test_guidance_that_gives_values_that_are_not_finite_is_found_by_warming_up(policy, monkeypatch) -> None:
    monkeypatch.setattr(policy, "infer_guided", lambda batch, noise, target: torch.full((1, H, A), torch.nan))
    with pytest.raises(ActionError, match="not finite"):
        policy.warmup()


def test_a_policy_that_declares_guidance_without_having_it_is_found_by_warming_up(policy, monkeypatch) -> None:
    monkeypatch.setattr(NotingPolicy, "infer_guided", Policy.infer_guided)
    with pytest.raises(NotImplementedError, match="'noting' declares supports_guidance"):
        policy.warmup()


def test_field_defect_policies_that_cannot_be_guided_say_so_and_name_what_can_be_used(build, observe) -> None:
    act = build()
    assert not act.config.supports_guidance and not type(act).config_class.supports_guidance
    with pytest.raises(ConfigurationError, match=r"'act' cannot be guided: use .* blend, ensemble, overlap or sync"):
        act.guided_inference(observe(0), prefix=rows(4), delay=2, execution_horizon=2)
