# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from policy_ros.policies.ensembling import TemporalEnsembler


def by_definition(chunks: list[torch.Tensor], step: int, coefficient: float) -> torch.Tensor:
    """The weighted mean of all predictions for a step, oldest first."""
    horizon = chunks[0].shape[0]
    predictions = [chunks[made][step - made] for made in range(step + 1) if step - made < horizon]
    weights = [math.exp(-coefficient * i) for i in range(len(predictions))]
    return sum(w * p for w, p in zip(weights, predictions, strict=True)) / sum(weights)


@pytest.mark.parametrize("coefficient", [0.01, 0.0, -0.5, 1.0])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_every_action_is_the_weighted_mean_of_its_predictions(coefficient, horizon):
    generator = torch.Generator().manual_seed(0)
    chunks = [torch.randn(horizon, 3, generator=generator) for _ in range(3 * horizon)]
    ensembler = TemporalEnsembler(coefficient, horizon)
    for step, chunk in enumerate(chunks):
        action = ensembler.update(chunk)
        assert action.shape == (3,) and action.dtype == torch.float32
        torch.testing.assert_close(action, by_definition(chunks, step, coefficient))


def test_reset_forgets_earlier_predictions():
    ensembler = TemporalEnsembler(0.1, 3)
    ensembler.update(torch.full((3, 1), 100.0))
    ensembler.reset()
    assert ensembler.update(torch.zeros(3, 1)).item() == 0.0


def test_a_chunk_is_not_changed():
    chunk = torch.ones(3, 1)
    ensembler = TemporalEnsembler(0.1, 3)
    ensembler.update(chunk)
    ensembler.update(chunk)
    assert torch.equal(chunk, torch.ones(3, 1))


def test_a_chunk_of_another_horizon_is_refused():
    with pytest.raises(ValueError, match="expected a chunk of 3 rows"):
        TemporalEnsembler(0.1, 3).update(torch.zeros(4, 1))
