# SPDX-License-Identifier: Apache-2.0
"""The loss of a validation depends on the weights and on nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest

pytest.importorskip("torchmetrics", reason="needs the extra 'train'")

import torch
from support.synthetic_data import FEATURES, TINY, SyntheticData, options

from policy_ros.policies import make_policy
from policy_ros.training.loading import Shard
from policy_ros.training.policy_options import policy_options
from policy_ros.training.validation import Validation


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return make_policy("flow", policy_options(options(policy="flow", overrides=TINY), FEATURES), device="cpu")


def validation(policy, seed: int = 0, batch_size: int = 4, validation: int = 9) -> Validation:
    data = SyntheticData(0, validation=validation)
    return Validation(
        lambda shard: data.validation(policy.config, samples=100, shard=shard),
        batch_size=batch_size,
        seed=seed,
        shard=Shard(),
    )


def test_the_same_weights_have_the_same_loss(policy):
    check = validation(policy)
    first = check.run(policy, nullcontext)
    torch.manual_seed(123)
    torch.rand(7)
    assert check.run(policy, nullcontext) == first
    assert set(first) == {"loss", "flow_loss"}


def test_other_weights_have_another(policy):
    check = validation(policy)
    before = check.run(policy, nullcontext)
    with torch.no_grad():
        next(policy.parameters()).add_(0.1)
    assert check.run(policy, nullcontext) != before


def test_a_small_last_batch_weighs_by_its_samples(policy):
    """With the noise out of the way: ACT's loss in evaluation mode has none."""
    chosen = options(overrides={"use_vae": False, "chunk_size": 4, "dim_model": 16, "n_heads": 2, "dropout": 0.0})
    act = make_policy("act", policy_options(chosen, FEATURES), device="cpu")
    data = [*SyntheticData(0).validation(act.config, samples=9, shard=Shard())]
    for sample in data:
        sample["action_is_pad"][:] = False
    losses = [
        Validation(lambda shard: data, batch_size=size, seed=0, shard=Shard()).run(act, nullcontext)["loss"]
        for size in (2, 9)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_training_goes_on_in_the_mode_it_was_in(policy):
    policy.train()
    modes = []
    policy.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    validation(policy).run(policy, nullcontext)
    assert policy.training
    assert modes and not any(modes)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_every_pass_is_in_the_context_of_the_precision(policy):
    entered = []
    validation(policy).run(policy, partial(_Entered, entered))
    assert len(entered) == 3


class _Entered:
    def __init__(self, entered: list[int]) -> None:
        self._entered = entered

    def __enter__(self) -> None:
        self._entered.append(1)

    def __exit__(self, *args: object) -> None:
        pass
