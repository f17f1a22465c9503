# SPDX-License-Identifier: Apache-2.0
"""TD-MPC: what it answers, how it plans, and what it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from policy_ros.errors import ConfigurationError, TrainingError
from policy_ros.policies import make_policy
from policy_ros.policies.relative import RelativeActions
from policy_ros.policies.seeded import SeededPolicy, draw_noise
from policy_ros.policies.tdmpc.augmentation import shifted
from policy_ros.policies.tdmpc.config import TDMPCConfig
from policy_ros.policies.tdmpc.draws import GeneratorDraws, GivenDraws
from policy_ros.policies.tdmpc.planner import Planner

STATE, ENVIRONMENT, IMAGE = "observation.state", "observation.environment_state", "observation.image"


def options(**changes):
    return {
        "input_features": {STATE: {"type": "STATE", "shape": [3]}, ENVIRONMENT: {"type": "ENV", "shape": [4]}},
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        "n_action_repeats": 1,
        "horizon": 4,
        "latent_dim": 8,
        "mlp_dim": 16,
        "state_encoder_hidden_dim": 16,
        "n_gaussian_samples": 24,
        "n_pi_samples": 4,
        "n_elites": 6,
        "cem_iterations": 3,
        **changes,
    }


def tiny(**changes):
    torch.manual_seed(0)
    return make_policy("tdmpc", options(**changes), device="cpu")


def seeing(**changes):
    """One that looks through a camera."""
    features = {STATE: {"type": "STATE", "shape": [3]}, IMAGE: {"type": "VISUAL", "shape": [3, 40, 40]}}
    return tiny(input_features=features, image_encoder_hidden_dim=4, **changes)


def observation(seed: int = 0):
    random = np.random.RandomState(seed)
    return {STATE: random.randn(3).astype(np.float32), ENVIRONMENT: random.randn(4).astype(np.float32)}


def noise(policy, seed: int = 0):
    return draw_noise(policy.config, np.random.default_rng(seed))


def samples(config: TDMPCConfig, size: int = 3) -> dict[str, torch.Tensor]:
    """Recorded stretches: the reward is how near the first action is to the environment's first value."""
    random, horizon = np.random.RandomState(1), config.horizon
    batch = {
        STATE: random.randn(size, horizon + 1, 3),
        ENVIRONMENT: random.uniform(-0.8, 0.8, (size, horizon + 1, 4)),
        "action": random.uniform(-1, 1, (size, horizon, 2)),
    }
    batch["next.reward"] = -np.abs(batch["action"][..., 0] - batch[ENVIRONMENT][:, :-1, 0])
    return {key: torch.from_numpy(value.astype(np.float32)) for key, value in batch.items()}


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, 4),
        ({"n_action_steps": 3}, 4),
        ({"n_action_repeats": 3}, 3),
        ({"use_mpc": False}, 1),
        ({"use_mpc": False, "n_action_repeats": 2}, 2),
    ],
)
def test_a_chunk_has_the_rows_that_can_be_executed(changes: dict, rows: int):
    policy = tiny(**changes)
    chunk = policy.predict(observation())
    assert chunk.shape == (rows, 2)
    assert np.abs(chunk).max() <= 1.0
    if changes.get("n_action_repeats"):
        assert (chunk == chunk[0]).all()
    else:
        assert rows == 1 or (chunk[1:] != chunk[0]).any()


def test_predict_keeps_no_state():
    policy = tiny()
    given = noise(policy)
    first = policy.predict(observation(), noise=given)
    policy.predict(observation(1))
    policy.select_action(observation(1))
    np.testing.assert_array_equal(policy.predict(observation(), noise=given), first)


def test_select_action_goes_on_from_the_plan_before_until_reset():
    policy = tiny()
    given = noise(policy)
    policy.reset()
    first = policy.select_action(observation(), noise=given)
    np.testing.assert_array_equal(first, policy.predict(observation(), noise=given)[0])
    assert (policy.select_action(observation(), noise=given) != first).any(), "from another mean"
    policy.reset()
    np.testing.assert_array_equal(policy.select_action(observation(), noise=given), first)


def test_a_plan_is_executed_for_as_many_rows_as_the_checkpoint_says():
    policy = tiny(n_action_steps=3)
    given = noise(policy)
    rows = policy.predict(observation(), noise=given)[:3]
    policy.reset()
    executed = [policy.select_action(observation(step), noise=given) for step in range(3)]
    np.testing.assert_array_equal(executed, rows)


def test_repetitions_are_executed_before_it_looks_again():
    policy = tiny(n_action_repeats=2, use_mpc=False)
    policy.reset()
    executed = [policy.select_action(observation(step)) for step in range(4)]
    np.testing.assert_array_equal(executed[0], executed[1])
    np.testing.assert_array_equal(executed[2], policy.predict(observation(2))[0])
    assert policy.config.execution_rows == 2


def test_noise_decides_the_plan():
    policy = tiny()
    one, other = noise(policy, 1), noise(policy, 2)
    np.testing.assert_array_equal(policy.predict(observation(), noise=one), policy.predict(observation(), noise=one))
    assert (policy.predict(observation(), noise=one) != policy.predict(observation(), noise=other)).any()


def test_plans_of_a_batch_are_those_of_each_alone():
    policy = tiny()
    given = [noise(policy, seed) for seed in range(3)]
    together = policy.predict_batch([observation(seed) for seed in range(3)], noise=np.concatenate(given))
    alone = [policy.predict(observation(seed), noise=given[seed]) for seed in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_episodes_repeat_under_one_generator():
    def episode():
        policy = SeededPolicy(tiny(), np.random.default_rng(5))
        return [policy.predict(observation(step)) for step in range(3)]

    np.testing.assert_array_equal(episode(), episode())


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ConfigurationError, match=r"noise: expected shape \(1, \d+\), got \(1, 3\)"):
        tiny().predict(observation(), noise=np.zeros((1, 3), np.float32))


def test_without_planning_nothing_is_drawn():
    policy = tiny(use_mpc=False)
    assert noise(policy) is None
    np.testing.assert_array_equal(policy.predict(observation()), policy.predict(observation()))
    with pytest.raises(ConfigurationError, match="uses no noise"):
        policy.predict(observation(), noise=np.zeros((1, 1), np.float32))


def test_it_says_which_options_make_planning_faster():
    assert "cem_iterations=2" in tiny(cem_iterations=2).config.speed_advice
    assert not tiny(use_mpc=False).config.speed_advice


def test_all_noise_is_used():
    """What is left over would mean that its size is miscounted."""
    policy = tiny(n_action_steps=2)
    draws = GivenDraws(torch.from_numpy(noise(policy)), 2)
    Planner(policy.config, policy.model).plan(torch.zeros(1, 8), draws)
    with pytest.raises(ValueError, match="got 0"):
        draws.choice(torch.ones(1, 1))


class ToyWorld:
    """A world whose latent does not matter: an action is worth what it says."""

    def __init__(self, gain, spread=lambda action: 0.0 * action[..., 0]):
        self._gain, self._spread = gain, spread

    def reward(self, latent, action):
        return self._gain(action)

    def step(self, latent, action):
        return latent

    def action(self, latent):
        return torch.zeros(*latent.shape[:-1], 2)

    def action_values(self, latent, action):
        spread = self._spread(action)
        return torch.stack([-spread, spread])


def planned(world: ToyWorld, **changes) -> np.ndarray:
    config = TDMPCConfig.from_dict(
        options(n_gaussian_samples=200, n_elites=20, cem_iterations=8, q_ensemble_size=2, **changes)
    )
    torch.manual_seed(0)
    return Planner(config, world).plan(torch.zeros(1, 8), GeneratorDraws(1, 2, torch.device("cpu"))).mean[:, 0].numpy()


def test_the_plan_is_what_earns_most():
    best = torch.tensor([0.5, -0.7])
    plan = planned(ToyWorld(lambda action: -10.0 * (action - best).square().sum(-1)))
    np.testing.assert_allclose(plan, np.tile(best.numpy(), (4, 1)), atol=0.1)


def test_where_the_values_disagree_the_plan_does_not_go():
    world = ToyWorld(lambda action: action.sum(-1), spread=lambda action: 20.0 * action[..., 0].clamp_min(0.0))
    daring = planned(world, uncertainty_regularizer_coeff=0.0)
    careful = planned(world, uncertainty_regularizer_coeff=1.0)
    # The value at the end is the smaller one in any case, so all but the last action tell.
    assert daring[:, 0].mean() > 0.5
    assert careful[:, 0].max() < 0.2
    assert careful[:, 1].min() > 0.5, "along the other axis there is nothing to fear"


def test_given_choices_follow_their_weights():
    normal = torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 1)).astype(np.float32))
    weights = torch.tensor([0.5, 0.2, 0.3]).unsqueeze(1).expand(-1, 4000)
    chosen = GivenDraws(normal, 2).choice(weights)
    np.testing.assert_allclose(np.bincount(chosen, minlength=3) / 4000, [0.5, 0.2, 0.3], atol=0.03)


def test_given_pairs_are_uniform():
    normal = torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 2)).astype(np.float32))
    pairs = GivenDraws(normal, 2).pair(5)
    assert pairs.shape == (2, 4000)
    for row in pairs:
        np.testing.assert_allclose(np.bincount(row, minlength=5) / 4000, 0.2, atol=0.03)


@pytest.mark.parametrize("value", [-40.0, 40.0])
def test_extreme_noise_stays_in_range(value: float):
    """A float32 normal this far out has a cumulative probability of exactly 0 or 1."""
    noise = torch.full((1, 2), value)
    assert 0 <= int(GivenDraws(noise, 2).choice(torch.full((3, 1), 1 / 3))) <= 2
    assert all(0 <= index <= 4 for index in GivenDraws(noise, 2).pair(5).flatten())


def test_images_are_shifted_by_whole_pixels():
    torch.manual_seed(0)
    images, pad = torch.rand(20, 3, 12, 12), 2
    moved = shifted(images, 0.15)
    padded = F.pad(images, (pad,) * 4, "replicate")
    shifts = set()
    for image, source in zip(moved, padded, strict=True):
        fits = [
            (row, column)
            for row in range(2 * pad + 1)
            for column in range(2 * pad + 1)
            if torch.allclose(image, source[:, row : row + 12, column : column + 12], atol=1e-4)
        ]
        assert len(fits) == 1
        shifts.add(fits[0])
    assert len(shifts) > 5, "each by its own"


def test_images_are_shifted_in_training_only():
    policy = seeing(max_random_shift_ratio=0.2)
    batch = {k: v for k, v in samples(policy.config).items() if k != ENVIRONMENT}
    batch[IMAGE] = torch.randint(0, 256, (3, 5, 3, 40, 40), dtype=torch.uint8)

    def losses():
        found = set()
        for seed in range(3):
            torch.manual_seed(seed)
            np.random.seed(0)  # noqa: NPY002
            found.add(policy(batch)[0].item())
        return found

    assert len(losses()) == 3
    policy.eval()
    assert len(losses()) == 1


def test_the_target_network_follows_after_each_step():
    policy = tiny(target_model_momentum=0.75)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(1.0)
    before = [parameter.clone() for parameter in policy.model_target.parameters()]
    policy.after_step()
    for old, new in zip(before, policy.model_target.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)
    assert not any(parameter.requires_grad for parameter in policy.model_target.parameters())


def test_what_is_padding_has_no_say():
    policy = tiny().eval()
    batch = samples(policy.config)
    for key, length in (("action", 4), ("next.reward", 4), (STATE, 5)):
        batch[f"{key}_is_pad"] = torch.zeros(3, length, dtype=torch.bool)
        batch[f"{key}_is_pad"][:, -2:] = True
    changed = {key: value.clone() for key, value in batch.items()}
    changed["next.reward"][:, -2:] += 5.0
    changed[STATE][:, -2:] += 5.0
    changed["action"][:, -1] -= 0.5

    def loss(of):
        np.random.seed(0)  # noqa: NPY002
        return policy(of)[0].item()

    assert loss(changed) == pytest.approx(loss(batch), rel=1e-6)
    changed["next.reward"][:, 0] += 5.0
    assert loss(changed) != pytest.approx(loss(batch), rel=1e-3)


def test_it_learns_rewards_and_does_what_earns_them():
    """Where an action was worth more than others, the learned policy does that one."""
    policy = tiny(use_mpc=False, mlp_dim=32, horizon=1, discount=0.0, q_ensemble_size=2)
    batch = samples(policy.config, size=256)
    optimizer = torch.optim.Adam((p for p in policy.parameters() if p.requires_grad), lr=1e-2)
    np.random.seed(0)  # noqa: NPY002
    parts = []
    for _ in range(100):
        loss, found = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        policy.after_step()
        parts.append(found)
    assert parts[-1]["reward_loss"] < 0.1 * parts[0]["reward_loss"]
    wanted = batch[ENVIRONMENT][:, 0, 0].numpy()
    seen = [{key: batch[key][row, 0].numpy() for key in (STATE, ENVIRONMENT)} for row in range(256)]
    done = policy.predict_batch(seen)[:, 0, 0]
    assert np.corrcoef(done, wanted)[0, 1] > 0.5


def test_samples_without_rewards_are_refused():
    policy = tiny()
    batch = samples(policy.config)
    del batch["next.reward"]
    with pytest.raises(TrainingError, match=r"expected 'next\.reward' for TD-MPC, which learns from rewards, got"):
        policy(batch)


def test_samples_without_the_next_observations_are_refused():
    policy = tiny()
    batch = samples(policy.config)
    batch[STATE] = batch[STATE][:, 0]
    with pytest.raises(TrainingError, match=r"expected 'observation\.state' of shape \(3, 5, 3\).*got \(3, 3\)"):
        policy(batch)


def test_relative_actions_are_refused():
    with pytest.raises(ConfigurationError, match="relative actions: expected absolute ones"):
        tiny().relative = RelativeActions.excluding((), ("a", "b"), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_action_steps": 5}, "n_action_steps: expected a value from 1 to 4"),
        ({"n_action_steps": 2, "n_action_repeats": 2}, "n_action_steps: expected 1 unless"),
        ({"n_action_steps": 2, "use_mpc": False, "horizon": 9}, "n_action_steps: expected"),
        ({"n_elites": 29}, "n_elites: expected a value from 1 to 28"),
        ({"n_obs_steps": 2}, "looks at one observation"),
        ({"q_ensemble_size": 1}, "uncertainty_regularizer_coeff: expected 0"),
        ({"min_std": 3.0}, "max_std: expected at least min_std"),
        ({"n_gaussian_samples": 0}, "n_gaussian_samples: expected"),
        ({"n_gaussian_samples": 2**20, "horizon": 4096}, "values that a plan draws"),
        ({"n_gaussian_samples": 2**20, "mlp_dim": 16384}, "values of all trajectories"),
        ({"discount": 1.5}, "discount: expected a value from 0"),
        ({"normalization_mapping": {"ACTION": "MEAN_STD"}}, "expected MIN_MAX"),
        ({"input_features": {IMAGE: {"type": "VISUAL", "shape": [3, 48, 64]}}}, "expected a square image, got 48x64"),
        ({"input_features": {IMAGE: {"type": "VISUAL", "shape": [3, 38, 38]}}}, "sides of at least 39"),
        ({"input_features": {f"{IMAGE}s.{n}": {"type": "VISUAL", "shape": [3, 40, 40]} for n in "ab"}}, "at most one"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict, message: str):
    with pytest.raises(ConfigurationError, match=message):
        TDMPCConfig.from_dict(options(**changes))


def test_a_camera_of_another_size_and_name_is_looked_through():
    policy = seeing(use_mpc=False)
    picture = np.random.RandomState(0).randint(0, 256, (3, 48, 64), dtype=np.uint8)
    chunk = policy.predict({STATE: np.zeros(3, np.float32), IMAGE: picture})
    other = policy.predict({STATE: np.zeros(3, np.float32), IMAGE: 255 - picture})
    assert (chunk != other).any()
