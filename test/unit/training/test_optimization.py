# SPDX-License-Identifier: Apache-2.0
"""Optimiser and schedule follow the policy's configuration, and the options where they say otherwise."""

from __future__ import annotations

import pytest
import torch
from support.synthetic_data import FEATURES, TINY, TINY_ACT, options

from policy_ros.data import FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies import make_policy
from policy_ros.training.optimization import Optimization, parameter_groups
from policy_ros.training.policy_options import policy_options

WITH_CAMERA = {**FEATURES, "observation.images.top": FeatureSpec(FeatureType.VISUAL, (3, 32, 32))}


def policy(name: str, **changes):
    overrides = {"backbone_norm": "group_norm", "backbone_width": 8, **(TINY_ACT if name == "act" else TINY)}
    chosen = options(policy=name, overrides={**overrides, **changes.pop("overrides", {})}, **changes)
    made = make_policy(name, policy_options(chosen, WITH_CAMERA), device="cpu")
    return made, Optimization.of(made.config, chosen)


def by_parameter(made, optimization) -> dict[str, dict]:
    """Name of a parameter to the one group that it is in."""
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    found: dict[str, dict] = {}
    for group in parameter_groups(made, optimization):
        for parameter in group["params"]:
            assert names[id(parameter)] not in found, "in two groups"
            found[names[id(parameter)]] = group
    assert set(found) == set(names.values())
    return found


def test_the_backbone_has_a_learning_rate_of_its_own():
    groups = by_parameter(*policy("act", lr=0.0, overrides={"optimizer_lr": 1e-3, "optimizer_lr_backbone": 1e-5}))
    for name, group in groups.items():
        assert group["lr"] == (1e-5 if ".backbone." in name else 1e-3), name
    assert {group["lr"] for group in groups.values()} == {1e-5, 1e-3}


def test_act_decays_all_weights_as_in_lerobot():
    groups = by_parameter(*policy("act"))
    assert {group["weight_decay"] for group in groups.values()} == {1e-4}


def test_a_policy_that_denoises_decays_matrices_only():
    made, optimization = policy("flow")
    vectors = {name for name, parameter in made.named_parameters() if parameter.dim() < 2}
    assert vectors
    for name, group in by_parameter(made, optimization).items():
        assert group["weight_decay"] == (0.0 if name in vectors else 1e-4), name


def test_presets_of_act_and_flow():
    _, act = policy("act", steps=1000, lr=0.0)
    assert (act.lr, act.schedule, act.warmup, act.grad_clip) == (1e-5, "constant", 0, 10.0)
    _, flow = policy("flow", steps=1000, lr=0.0)
    assert (flow.lr, flow.lr_backbone, flow.schedule, flow.warmup, flow.grad_clip) == (1e-4, 1e-5, "cosine", 100, 1.0)


def test_options_override_the_preset():
    _, chosen = policy("act", steps=100, schedule="cosine", warmup=5, grad_clip=0.0)
    assert (chosen.schedule, chosen.warmup, chosen.grad_clip) == ("cosine", 5, None)


def test_a_learning_rate_takes_the_backbone_along_and_is_written_into_the_checkpoint():
    made, optimization = policy("flow", lr=1e-3)
    assert optimization.lr == made.config.optimizer_lr == 1e-3
    assert optimization.lr_backbone == made.config.optimizer_lr_backbone == pytest.approx(1e-4)
    _, own = policy("flow", lr=1e-3, overrides={"optimizer_lr_backbone": 5e-4})
    assert own.lr_backbone == 5e-4


def test_two_learning_rates_are_refused():
    with pytest.raises(ConfigurationError, match=r"lr and overrides.optimizer_lr say the same thing"):
        policy("act", lr=1e-3, overrides={"optimizer_lr": 1e-4})


def test_cosine_rises_from_near_zero_and_falls_to_near_zero():
    _, cosine = policy("flow", steps=100, warmup=10)
    factors = [cosine.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[:11] == sorted(factors[:11])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[55] == pytest.approx(0.5)
    assert 0.0 <= factors[-1] < 0.001


def test_the_optimiser_follows_the_schedule():
    made, optimization = policy("flow", steps=10, warmup=2, lr=1e-3)
    optimizer, schedule = optimization.make(made)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[-1]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([rates[2] * optimization.factor(step) for step in range(10)])
    assert max(rates) in (pytest.approx(1e-3), pytest.approx(1e-4))


def test_a_schedule_is_saved_without_code(tmp_path):
    made, optimization = policy("flow")
    _, schedule = optimization.make(made)
    torch.save(schedule.state_dict(), tmp_path / "state")
    torch.load(tmp_path / "state", weights_only=True)


def test_features_cannot_be_set_by_hand():
    with pytest.raises(ConfigurationError, match="overrides.input_features: expected none"):
        policy("act", overrides={"input_features": {}})


def test_rows_that_are_executed_follow_a_shorter_chunk():
    made, _ = policy("act")
    assert (made.config.chunk_size, made.config.n_action_steps) == (4, 4)
