# SPDX-License-Identifier: Apache-2.0
"""Policies to evaluate: one that knows the solution, and tiny networks that know nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policy_ros.data import (
    ACTION,
    OBSERVATION_ENVIRONMENT_STATE,
    OBSERVATION_STATE,
    FeatureSpec,
    FeatureType,
)
from policy_ros.policies import make_policy
from policy_ros.policies.base import Policy
from policy_ros.policies.config import PolicyConfig
from policy_ros.simulation.expert import Expert
from policy_ros.simulation.physics import World

MIDDLE = [0.5, -1.5, 1.0, 0.04]  # joint positions about the middle of the workspace [rad, m]
SUBSTEPS = 4  # of the physics in a control period of 20 ms


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig(PolicyConfig):
    """``tremor`` is the deviation of noise on the rows [rad, m]."""

    uses_noise = True

    chunk_size: int = 30
    tremor: float = 0.0


class ScriptedPolicy(Policy):
    """Plans by simulating the scripted solution from the observed state, as a policy would that learnt it perfectly."""

    name = "scripted"
    config_class = ScriptedConfig
    config: ScriptedConfig

    def __init__(self, config: ScriptedConfig) -> None:
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[int] = []

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        state, places = batch[OBSERVATION_STATE].numpy(), batch[OBSERVATION_ENVIRONMENT_STATE].numpy()
        self.batches.append(len(state))
        plans = torch.from_numpy(np.stack([self._plan(*each) for each in zip(state, places, strict=True)]))
        return plans if noise is None else plans + self.config.tremor * noise

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return self.unused, {}

    def _plan(self, positions: np.ndarray, places: np.ndarray) -> np.ndarray:
        world, expert = World(), Expert()
        world.place(positions.tolist())
        world.place_puck(float(places[0]), float(places[1]))
        ahead, left = world.points.tool.to_local(*world.puck)
        if world.gap <= 2 * world.table.puck_radius + 1e-3 and abs(left) < 0.01 and abs(ahead) < 0.02:
            world.grasp = (ahead, 0.0)  # closed around the puck
        goal = (float(places[2]), float(places[3]))
        rows = []
        for _ in range(self.config.chunk_size):
            rows.append(expert.command(world, goal))
            for _ in range(SUBSTEPS):
                world.substep(rows[-1].tolist())
        return np.stack(rows)


def _spread(shape: list[int]) -> dict[str, torch.Tensor]:
    return {"mean": torch.zeros(shape), "std": torch.ones(shape)}


def features(**shapes: tuple[int, ...]) -> dict[str, FeatureSpec]:
    kinds = {"state": FeatureType.STATE, "environment_state": FeatureType.ENV}
    return {f"observation.{name}": FeatureSpec(kinds[name], shape) for name, shape in shapes.items()}


@pytest.fixture
def scripted() -> Callable[..., ScriptedPolicy]:
    """The policy that knows the solution."""

    def make(**changes: Any) -> ScriptedPolicy:
        options: dict[str, Any] = {"chunk_size": 30, "n_action_steps": 15, **changes}
        return ScriptedPolicy(
            ScriptedConfig(
                input_features=features(state=(4,), environment_state=(4,)),
                output_features={ACTION: FeatureSpec(FeatureType.ACTION, (4,))},
                **options,
            )
        )

    return make


@pytest.fixture
def network() -> Callable[..., Policy]:
    """A tiny network with random weights that looks at the cameras and moves about the middle of the workspace."""

    def make(name: str, *, cameras: tuple[str, ...] = ("top", "wrist"), side: int = 32, **changes: Any) -> Policy:
        torch.manual_seed(0)
        pictures = {f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, side, side]} for camera in cameras}
        options = {
            "input_features": {"observation.state": {"type": "STATE", "shape": [4]}, **pictures},
            "output_features": {"action": {"type": "ACTION", "shape": [4]}},
            "chunk_size": 20,
            "n_action_steps": 10,
            "dim_model": 16,
            "n_heads": 2,
            "dim_feedforward": 32,
            "n_encoder_layers": 1,
            "pretrained_backbone_weights": None,
            **changes,
        }
        statistics = {
            key: _spread(spec["shape"][:1] + [1, 1] * (spec["type"] == "VISUAL"))
            for key, spec in {**options["input_features"], **options["output_features"]}.items()
        }
        if options["output_features"]["action"]["shape"] == [4]:
            statistics["action"] = {"mean": torch.tensor(MIDDLE), "std": torch.tensor([0.3, 0.3, 0.3, 0.02])}
        return make_policy(name, options, statistics=statistics, device="cpu")

    return make
