# SPDX-License-Identifier: Apache-2.0
"""The Gaussian actor of SAC: what it draws, what it learns, and which checkpoints it reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policy_ros.errors import CheckpointError, ConfigurationError, TrainingError
from policy_ros.parameters.build import check_joints
from policy_ros.parameters.node import JointParameters, NodeParameters
from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.registry import POLICY_REGISTRY
from policy_ros.policies.sac.config import GaussianActorConfig
from policy_ros.policies.sac.model import Gaussian
from policy_ros.policies.sac.squashed import draw, log_likelihood

STATE, LEFT, RIGHT = "observation.state", "observation.images.left", "observation.images.right"


def options(*, cameras: tuple[str, ...] = (), **changes):
    return {
        "input_features": {
            STATE: {"type": "STATE", "shape": [3]},
            **{key: {"type": "VISUAL", "shape": [3, 40, 48]} for key in cameras},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        "latent_dim": 16,
        "image_encoder_hidden_dim": 4,
        "image_embedding_pooling_dim": 2,
        "actor_network_kwargs": {"hidden_dims": [16, 16]},
        **changes,
    }


def tiny(name: str = "gaussian_actor", **changes):
    torch.manual_seed(0)
    statistics = {
        STATE: {"min": -torch.ones(3), "max": torch.ones(3)},
        "action": {"min": torch.tensor([1.0, -3.0]), "max": torch.tensor([2.0, 5.0])},
        **{key: {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)} for key in (LEFT, RIGHT)},
    }
    return make_policy(name, options(**changes), statistics=statistics, device="cpu")


def observation(seed: int = 0):
    return {STATE: np.random.RandomState(seed).uniform(-1, 1, 3).astype(np.float32)}


def test_both_names_are_one_class():
    assert POLICY_REGISTRY.get("sac") is POLICY_REGISTRY.get("gaussian_actor")


def test_actions_are_drawn_within_their_range():
    policy = tiny()
    chunks = policy.predict_batch([observation()] * 500)
    assert chunks.shape == (500, 1, 2)
    assert len(np.unique(chunks[:, 0, 0])) > 100
    assert (chunks >= [1.0, -3.0]).all() and (chunks <= [2.0, 5.0]).all()


def test_zero_noise_gives_the_middle_and_so_does_a_deterministic_actor():
    middle = tiny().predict(observation(), noise=np.zeros((1, 1, 2), np.float32))
    settled = tiny(deterministic=True)
    np.testing.assert_array_equal(settled.predict(observation()), middle)
    with pytest.raises(ConfigurationError, match="uses no noise"):
        settled.predict(observation(), noise=np.zeros((1, 1, 2), np.float32))


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ConfigurationError, match=r"noise: expected shape \(1, 1, 2\), got \(1, 2\)"):
        tiny().predict(observation(), noise=np.zeros((1, 2), np.float32))


def test_the_spread_stays_within_its_bounds():
    """They bound the variance, as in LeRobot."""
    policy = tiny(policy_kwargs={"std_min": 0.04, "std_max": 0.09})
    inputs = {STATE: torch.zeros(1, 3)}
    for bias, deviation in ((-9.0, 0.2), (9.0, 0.3)):
        torch.nn.init.constant_(policy.actor.std_layer.bias, bias)
        torch.testing.assert_close(policy.actor(inputs).deviation, torch.full((1, 2), deviation))


def test_the_likelihood_is_a_density():
    """It integrates to 1, and what is drawn has the mean that it says."""
    gaussian = Gaussian(torch.tensor([[0.4]]), torch.tensor([[0.6]]))
    actions = torch.linspace(-0.9985, 0.9985, 20001).unsqueeze(1)
    density = log_likelihood(Gaussian(*(value.expand(20001, 1) for value in gaussian)), actions).exp()
    assert torch.trapezoid(density, actions[:, 0]).item() == pytest.approx(1.0, abs=1e-3)
    torch.manual_seed(0)
    drawn = draw(Gaussian(*(value.expand(40000, 1) for value in gaussian)), torch.randn(40000, 1))
    expected = torch.trapezoid(density * actions[:, 0], actions[:, 0]).item()
    assert drawn.mean().item() == pytest.approx(expected, abs=0.01)


def test_actions_at_the_edges_have_a_finite_likelihood():
    gaussian = Gaussian(torch.zeros(1, 2), torch.ones(1, 2))
    assert torch.isfinite(log_likelihood(gaussian, torch.tensor([[1.0, -1.5]]))).all()


def test_it_learns_the_demonstrated_action_and_how_much_it_varies():
    policy = tiny(cameras=())
    random = np.random.RandomState(0)
    states = random.uniform(-1, 1, (256, 3)).astype(np.float32)
    actions = np.stack([1.5 + 0.3 * states[:, 0], 1.0 + 2.0 * states[:, 1]], axis=-1)
    actions[:, 1] += 0.8 * random.randn(256)  # 0.2 of half its range
    batch = {STATE: torch.from_numpy(states), "action": torch.from_numpy(actions.astype(np.float32)).unsqueeze(1)}
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(150):
        loss, parts = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["l1_of_the_middle"] < 0.15
    drawn = policy.predict_batch([{STATE: np.zeros(3, np.float32)}] * 500)[:, 0]
    np.testing.assert_allclose(drawn.mean(0), [1.5, 1.0], atol=0.3)
    assert drawn[:, 0].std() < 0.1
    assert 0.4 < drawn[:, 1].std() < 1.4


def test_padding_is_not_learnt():
    policy = tiny().eval()
    batch = {STATE: torch.zeros(2, 3), "action": torch.tensor([[[1.5, 0.0]], [[1.9, 4.0]]])}
    batch["action_is_pad"] = torch.tensor([[False], [True]])
    first = {key: value[:1] for key, value in batch.items()}
    assert policy(batch)[0].item() == pytest.approx(policy(first)[0].item(), rel=1e-6)


@pytest.mark.parametrize("freeze", [True, False])
def test_the_convolutions_learn_unless_they_are_frozen(freeze: bool):
    """A shared encoder learns as well: no critic is there to teach it."""
    policy = tiny(cameras=(LEFT,), freeze_vision_encoder=freeze)
    batch = {STATE: torch.zeros(2, 3), LEFT: torch.rand(2, 3, 40, 48), "action": torch.tensor([[[1.2, 1.0]]] * 2)}
    policy(batch)[0].backward()
    encoder = policy.actor.encoder
    assert encoder.spatial_embeddings["observation_images_left"].kernel.grad.abs().sum() > 0
    weight = encoder.image_encoder.image_enc_layers[0].weight
    assert (weight.grad is None) if freeze else (weight.grad.abs().sum() > 0)


def test_every_camera_is_looked_through():
    policy = tiny(cameras=(LEFT, RIGHT), deterministic=True)
    random = np.random.RandomState(0)
    pictures = {key: random.randint(0, 256, (3, 60, 80), dtype=np.uint8) for key in (LEFT, RIGHT)}
    answer = policy.predict({**observation(), **pictures})
    for key in pictures:
        assert (policy.predict({**observation(), **pictures, key: 255 - pictures[key]}) != answer).any()


def test_a_discrete_action_follows_as_its_index():
    policy = tiny(num_discrete_actions=5)
    chosen = set()
    for seed in range(30):
        row = policy.predict(observation(seed))[0]
        assert row.shape == (3,)
        chosen.add(float(row[2]))
    assert chosen <= {0.0, 1.0, 2.0, 3.0, 4.0} and len(chosen) > 1
    policy.warmup()


def test_an_index_does_not_lead_a_robot():
    parameters = NodeParameters(joints=JointParameters(names=("a", "b")))
    with pytest.raises(ConfigurationError, match="cannot lead a robot: its last value is the index of one of 3"):
        check_joints(parameters, tiny(num_discrete_actions=3))


def test_a_discrete_action_is_not_learnt_from_demonstrations():
    policy = tiny(num_discrete_actions=3)
    batch = {STATE: torch.zeros(1, 3), "action": torch.zeros(1, 1, 3)}
    with pytest.raises(TrainingError, match="needs rewards"):
        policy(batch)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("discrete", [None, 3])
def test_a_checkpoint_holds_each_weight_once(shared: bool, discrete: int | None, tmp_path):
    policy = tiny(cameras=(LEFT,), shared_encoder=shared, num_discrete_actions=discrete, deterministic=True)
    policy.save_pretrained(tmp_path)
    encoders = {
        name.split("state_encoder")[0] for name in load_file(tmp_path / "model.safetensors") if "state_encoder" in name
    }
    others = set() if shared else {"encoder_critic." if discrete is None else "discrete_critic.encoder."}
    assert encoders == {"actor.encoder."} | others
    see = {**observation(), LEFT: np.zeros((3, 40, 48), np.uint8)}
    np.testing.assert_array_equal(load_policy(tmp_path, device="cpu").predict(see), policy.predict(see))


def test_any_name_of_a_shared_weight_is_read(tmp_path):
    policy = tiny(deterministic=True)
    policy.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = {k.replace("actor.encoder.", "encoder_critic."): v for k, v in load_file(file).items()}
    save_file(weights, file)
    answer = policy.predict(observation())
    np.testing.assert_array_equal(load_policy(tmp_path, device="cpu").predict(observation()), answer)
    key = "encoder_critic.state_encoder.0.weight"
    save_file({**weights, key.replace("encoder_critic.", "actor.encoder."): weights[key] + 1.0}, file)
    with pytest.raises(CheckpointError, match="expected equal values, since the network shares them"):
        load_policy(tmp_path, device="cpu")


def test_an_older_checkpoint_is_read_without_its_critics(tmp_path):
    """LeRobot before 0.6: type ``sac``, and compiled critics, which give a separate encoder its name."""
    policy = tiny(shared_encoder=False, deterministic=True)
    policy.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    compiled = "critic_ensemble._orig_mod.encoder."
    weights = {k.replace("encoder_critic.", compiled): v for k, v in load_file(file).items()}
    assert any(name.startswith(compiled) for name in weights)
    weights["critic_ensemble._orig_mod.critics.0.output_layer.weight"] = torch.zeros(1, 4)
    weights["critic_target._orig_mod.critics.0.output_layer.weight"] = torch.zeros(1, 4)
    weights["log_alpha"] = torch.zeros(1)
    save_file(weights, file)
    config = json.loads((tmp_path / "config.json").read_text())
    older = {"type": "sac", "discount": 0.99, "utd_ratio": 2, "critic_network_kwargs": {"hidden_dims": [8]}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **older}))
    loaded = load_policy(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.predict(observation()), policy.predict(observation()))
    loaded.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["type"] == "gaussian_actor"


def test_only_keys_that_lerobot_knows_are_written():
    written = GaussianActorConfig.from_dict(options(optimizer_lr=1e-3)).to_dict()
    assert not {"n_action_steps", "deterministic", "optimizer_lr"} & set(written)
    assert written["actor_network_kwargs"] == {"hidden_dims": (16, 16), "activate_final": True}
    assert GaussianActorConfig.from_dict(written) == GaussianActorConfig.from_dict(options())


def picture(*shape: int) -> dict[str, object]:
    return {"type": "VISUAL", "shape": list(shape)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_encoder_name": "lerobot/resnet10"}, "vision_encoder_name: expected null"),
        ({"n_action_steps": 2}, "n_action_steps: expected a value from 1 to 1"),
        ({"n_obs_steps": 2}, "looks at one observation"),
        ({"num_discrete_actions": 0}, "num_discrete_actions: expected"),
        ({"actor_network_kwargs": {"hidden_dims": []}}, "hidden_dims .number of layers.: expected"),
        ({"actor_network_kwargs": {"hidden": [3]}}, "actor_network_kwargs: 'hidden' is no option.*hidden_dims"),
        ({"actor_network_kwargs": [3]}, "actor_network_kwargs: expected {option: value}"),
        ({"policy_kwargs": {"std_min": "low"}}, "policy_kwargs.std_min: expected float"),
        ({"policy_kwargs": {"std_min": 0.0, "std_max": 0.0}}, "policy_kwargs.std_max: expected a value from 1e-12"),
        ({"policy_kwargs": {"std_min": 2.0, "std_max": 1.0}}, "policy_kwargs.std_min: expected a value from 0"),
        ({"discrete_critic_network_kwargs": {"final_activation": "Linear"}}, "final_activation: expected one of SiLU"),
        ({"input_features": {LEFT: picture(3, 38, 64)}}, "sides of at least 39"),
        ({"input_features": {LEFT: picture(3, 64, 64), RIGHT: picture(3, 48, 64)}}, "expected images of one size"),
        ({"input_features": {"front": picture(3, 64, 64)}}, "expected images named observation.image"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict, message: str):
    with pytest.raises(ConfigurationError, match=message):
        GaussianActorConfig.from_dict(options(**changes))
