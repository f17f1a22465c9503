# SPDX-License-Identifier: Apache-2.0
"""A policy that is trained in two phases, of which the first is for a part of the network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra 'train'")

import torch
from support.synthetic_data import SyntheticData, options

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies import load_policy, make_policy
from policy_ros.training.metrics import read_metrics
from policy_ros.training.optimization import Optimization, parameter_groups
from policy_ros.training.policy_options import policy_options
from policy_ros.training.run import train

FEATURES = {
    "observation.state": FeatureSpec(FeatureType.STATE, (2,)),
    "observation.images.top": FeatureSpec(FeatureType.VISUAL, (3, 8, 8)),
    "action": FeatureSpec(FeatureType.ACTION, (2,)),
}
TINY_VQBET = {
    "n_obs_steps": 2,
    "n_action_pred_token": 2,
    "action_chunk_size": 3,
    "crop_shape": None,
    "spatial_softmax_num_keypoints": 2,
    "n_vqvae_training_steps": 5,
    "vqvae_n_embed": 4,
    "vqvae_embedding_dim": 4,
    "vqvae_enc_hidden_dim": 8,
    "gpt_block_size": 12,
    "gpt_input_dim": 8,
    "gpt_output_dim": 8,
    "gpt_hidden_dim": 8,
    "gpt_n_head": 2,
    "gpt_n_layer": 1,
    "offset_loss_weight": 1.0,
}


class Pictures(SyntheticData):
    """Two observations with a picture; all of them black."""

    def __init__(self, seed: int, training: int = 24, validation: int = 6) -> None:
        super().__init__(seed, training, validation)
        self.features = FEATURES

    def statistics(self, config, relative):
        one = torch.ones(2)
        return {key: {"min": -4 * one, "max": 4 * one} for key in ("observation.state", "action")}

    def _sample(self, index: int, config):
        state = torch.randn(config.n_obs_steps, 2, generator=torch.Generator().manual_seed(index))
        rows = torch.tensor(config.target_rows)
        return {
            "index": torch.tensor(index),
            "observation.state": state,
            "observation.images.top": torch.zeros(config.n_obs_steps, 3, 8, 8, dtype=torch.uint8),
            "action": state[-1] + 0.1 * rows[:, None],
            "action_is_pad": torch.zeros(len(rows), dtype=torch.bool),
        }


def chosen(**changes):
    overrides = {**TINY_VQBET, **changes.pop("overrides", {})}
    return options(policy="vqbet", overrides=overrides, lr=0.0, **{"steps": 12, **changes})


def run(out: Path, given) -> None:
    train(given, out, lambda each: Pictures(each.seed))


def optimization(**changes) -> Optimization:
    given = chosen(**changes)
    config = make_policy("vqbet", policy_options(given, FEATURES), device="cpu").config
    return Optimization.of(config, given)


def test_presets():
    preset = optimization(steps=2000)
    assert (preset.lr, preset.betas, preset.weight_decay) == (1e-4, (0.95, 0.999), 1e-6)
    assert (preset.schedule, preset.pretraining, preset.warmup, preset.grad_clip) == ("cosine", 5, 500, 10.0)


def test_the_schedule_begins_with_the_second_phase():
    preset = optimization(steps=105, warmup=9)
    factors = [preset.factor(step) for step in range(106)]
    assert factors[:5] == [1.0] * 5
    assert factors[5] == pytest.approx(0.1)
    assert factors[14] == pytest.approx(1.0)
    assert factors[14:] == sorted(factors[14:], reverse=True)
    assert factors[105] == pytest.approx(0.0, abs=1e-9)


def test_codes_learn_faster_and_vectors_of_the_transformer_do_not_decay():
    given = chosen()
    policy = make_policy("vqbet", policy_options(given, FEATURES), device="cpu")
    names = {id(parameter): name for name, parameter in policy.named_parameters()}
    seen = []
    for group in parameter_groups(policy, Optimization.of(policy.config, given)):
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            codes = ".vqvae_model." in name
            undecayed = name.startswith("vqbet.policy.") and (parameter.dim() < 2 or ".wpe." in name)
            assert group["lr"] == (1e-3 if codes else 1e-4), name
            assert group["weight_decay"] == (1e-4 if codes else 0.0 if undecayed else 1e-6), name
    assert sorted(seen) == sorted(names.values())


@pytest.mark.parametrize("steps", [4, 5])
def test_a_training_without_a_second_phase_is_refused(steps: int, tmp_path: Path):
    with pytest.raises(
        ConfigurationError, match=r"steps: expected more than the 5 of the first phase .* got " + str(steps)
    ):
        run(tmp_path / "out", chosen(steps=steps))
    assert not (tmp_path / "out").exists()


def test_the_best_policy_is_one_of_the_second_phase(tmp_path: Path):
    run(tmp_path / "out", chosen(overrides={"offset_loss_weight": 1e6}, val_every=2))
    losses = {
        row["step"]: row["loss"] for row in read_metrics(tmp_path / "out" / "training" / "metrics.jsonl", "validation")
    }
    assert min(losses, key=losses.__getitem__) < 5
    assert load_policy(tmp_path / "out" / "best", device="cpu").training_phase == 1


@pytest.mark.parametrize("step", [4, 7], ids=["in the first phase", "in the second"])
def test_a_training_goes_on_in_the_phase_that_it_was_in(step: int, tmp_path: Path):
    given = chosen(steps=8, save_every=step)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    run(whole, given)
    shutil.copytree(whole, halved)
    states = {int(path.stem.split("-")[1]): path for path in (halved / "training").glob("state-*.ckpt")}
    assert sorted(states) == [step, 8]
    states[8].unlink()
    run(halved, None)
    for kind in ("training", "validation"):
        one, other = (read_metrics(out / "training" / "metrics.jsonl", kind) for out in (whole, halved))
        assert one == other
    expected, found = (load_policy(out, device="cpu").state_dict() for out in (whole, halved))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
