# SPDX-License-Identifier: Apache-2.0
"""Policies small enough to build in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy_ros.policies import make_policy


def act_options(**changes: Any) -> dict[str, Any]:
    """Options of a tiny ACT without cameras; ``changes`` replace single ones."""
    return {
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [3]},
            "observation.environment_state": {"type": "ENV", "shape": [4]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        "chunk_size": 6,
        "n_action_steps": 3,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 32,
        "latent_dim": 4,
        "n_encoder_layers": 1,
        "n_vae_encoder_layers": 1,
        **changes,
    }


@pytest.fixture
def options() -> Callable[..., dict[str, Any]]:
    """Options of a tiny ACT, with changes."""
    return act_options


@pytest.fixture
def build() -> Callable[..., Any]:
    """Builds a tiny ACT with repeatable weights, with changed options."""

    def make(**changes: Any) -> Any:
        torch.manual_seed(0)
        return make_policy("act", act_options(**changes), statistics=statistics(), device="cpu")

    return make


@pytest.fixture
def observe() -> Callable[[int], dict[str, np.ndarray]]:
    """An observation for the tiny ACT, from a seed."""

    def make(seed: int) -> dict[str, np.ndarray]:
        random = np.random.RandomState(seed)
        return {
            "observation.state": random.standard_normal(3).astype(np.float32),
            "observation.environment_state": random.standard_normal(4).astype(np.float32),
        }

    return make


@pytest.fixture
def saved(build, tmp_path) -> Path:
    """A checkpoint of the tiny ACT."""
    directory = tmp_path / "checkpoint"
    build().save_pretrained(directory)
    return directory


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    """Statistics that are neither trivial nor alike."""
    return {
        "observation.state": {"mean": torch.tensor([0.1, -0.2, 0.3]), "std": torch.tensor([1.5, 0.5, 2.0])},
        "action": {"mean": torch.tensor([0.5, -0.5]), "std": torch.tensor([0.25, 4.0])},
    }
