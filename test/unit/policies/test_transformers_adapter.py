# SPDX-License-Identifier: Apache-2.0
"""A model class of transformers becomes a policy in a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.checkpoints import CAMERA, IMAGE_SHAPE, JOINTS
from torch import nn

from policy_ros.errors import ActionError, CheckpointError, ConfigurationError
from policy_ros.policies import POLICY_REGISTRY, load_policy, make_policy
from policy_ros.policies.transformers_adapter import TransformersPolicy

transformers = pytest.importorskip("transformers")

IMAGE = f"observation.images.{CAMERA}"


class ReachConfig(transformers.PretrainedConfig):
    model_type = "reach"

    def __init__(self, state_dim=3, action_dim=3, horizon=4, hidden_size=16, **kwargs):
        super().__init__(**kwargs)
        self.state_dim, self.action_dim, self.horizon, self.hidden_size = state_dim, action_dim, horizon, hidden_size


class ReachModel(transformers.PreTrainedModel):
    config_class = ReachConfig

    def __init__(self, config):
        super().__init__(config)
        self.eye = nn.Conv2d(3, config.hidden_size, kernel_size=8, stride=8)
        self.head = nn.Linear(config.hidden_size + config.state_dim, config.horizon * config.action_dim)
        self.post_init()

    def forward(self, pixel_values, state, actions=None, is_pad=None):
        seen = torch.cat((self.eye(pixel_values).mean((2, 3)).relu(), state), dim=-1)
        chunk = self.head(seen).unflatten(-1, (self.config.horizon, self.config.action_dim))
        if actions is None:
            return chunk
        return {"loss": ((chunk - actions).abs().mean(-1) * ~is_pad).mean()}


# The few lines:
@POLICY_REGISTRY.register("reach")
class ReachPolicy(TransformersPolicy):
    """Reaches."""

    name = "reach"
    model_class = ReachModel
    arguments = {"pixel_values": IMAGE, "state": "observation.state"}  # noqa: RUF012


class SinglePolicy(ReachPolicy):
    """One row only, in another shape and with names of its own."""

    name = "single"

    class model_class(ReachModel):
        def forward(self, pixel_values, state, labels=None):
            row = super().forward(pixel_values, state)[:, 0]
            return {"logits": row} if labels is None else {"loss": (row - labels).square().mean()}

    target, padding, output = "labels", "", "logits"


OPTIONS = {
    "input_features": {
        "observation.state": {"type": "STATE", "shape": [len(JOINTS)]},
        IMAGE: {"type": "VISUAL", "shape": list(IMAGE_SHAPE)},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [len(JOINTS)]}},
    "chunk_size": 4,
    "n_action_steps": 4,
}
STATISTICS = {"action": {"mean": torch.ones(3), "std": torch.full((3,), 2.0)}}
NORMALISED = {**OPTIONS, "normalization_mapping": {"ACTION": "MEAN_STD"}}


def observation() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "observation.state": random.normal(size=3).astype(np.float32),
        IMAGE: random.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8),
    }


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"observation.state": torch.rand(4, 3), IMAGE: torch.rand(4, *IMAGE_SHAPE), "action": torch.rand(4, 4, 3)}


def test_a_fresh_policy_trains_and_comes_back_by_name(tmp_path: Path):
    torch.manual_seed(0)
    policy = make_policy("reach", {**OPTIONS, "model": {"hidden_size": 32}}, device="cpu")
    assert policy.model.config.hidden_size == 32
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    first = policy(batch())[0].item()
    for _ in range(60):
        optimizer.zero_grad()
        policy(batch())[0].backward()
        optimizer.step()
    assert policy(batch())[0].item() < first / 2
    policy.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path, device="cpu")
    loaded.warmup()
    np.testing.assert_array_equal(loaded.predict(observation()), policy.predict(observation()))


def test_a_model_that_transformers_saved_is_adapted(tmp_path: Path):
    torch.manual_seed(0)
    model = ReachModel(ReachConfig(hidden_size=24)).eval()
    model.save_pretrained(tmp_path / "theirs")
    ReachPolicy.adapt(tmp_path / "theirs", NORMALISED, statistics=STATISTICS).save_pretrained(tmp_path / "ours")
    given = observation()
    with torch.inference_mode():
        chunk = model(
            torch.from_numpy(given[IMAGE])[None].float() / 255, torch.from_numpy(given["observation.state"])[None]
        )
    found = load_policy(tmp_path / "ours", device="cpu").predict(given)
    np.testing.assert_allclose(found, chunk[0].numpy() * 2.0 + 1.0, atol=1e-6)


def test_rows_outside_the_episode_are_told_to_the_model():
    policy = make_policy("reach", OPTIONS, device="cpu")
    padded = {**batch(), "action_is_pad": torch.ones(4, 4, dtype=torch.bool)}
    assert policy(padded)[0].item() == 0.0


def test_a_single_row_and_other_names_fit_as_well():
    policy = SinglePolicy(SinglePolicy.config_class.from_dict({**OPTIONS, "chunk_size": 1, "n_action_steps": 1}))
    assert policy.predict(observation()).shape == (1, 3)
    single = {**batch(), "action": batch()["action"][:, :1]}
    loss, parts = policy(single)
    assert parts == {"loss": loss.item()}


def test_weights_of_pickles_are_refused(tmp_path: Path):
    ReachModel(ReachConfig()).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickles can run code"):
        ReachPolicy.adapt(tmp_path, OPTIONS)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    ReachModel(ReachConfig()).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("head.bias")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing_keys head\.bias"):
        ReachPolicy.adapt(tmp_path, OPTIONS)


def test_code_that_a_saved_models_options_name_is_refused(tmp_path: Path):
    ReachModel(ReachConfig()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "text": {"attn_implementation": "somebody/kernel"}}))
    with pytest.raises(CheckpointError, match="got attn_implementation"):
        ReachPolicy.adapt(tmp_path, OPTIONS)


@pytest.mark.parametrize("option", ["auto_map", "_name_or_path", "attn_implementation"])
def test_options_that_point_to_code_elsewhere_are_refused(tmp_path: Path, option: str):
    make_policy("reach", OPTIONS, device="cpu").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"][option] = "somebody/model"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises((CheckpointError, ConfigurationError), match=option):
        load_policy(tmp_path, device="cpu")


def test_features_that_the_model_needs_have_to_be_there():
    features = {"observation.state": OPTIONS["input_features"]["observation.state"]}
    with pytest.raises(ConfigurationError, match=f"expected input_features with {IMAGE}"):
        make_policy("reach", {**OPTIONS, "input_features": features}, device="cpu")


def test_a_chunk_of_another_shape_is_refused():
    policy = make_policy("reach", {**OPTIONS, "model": {"horizon": 5}}, device="cpu")
    with pytest.raises(ActionError, match=r"expected chunks \(B, H, A\) of \(4, 3\), got \(1, 5, 3\)"):
        policy.predict(observation())
