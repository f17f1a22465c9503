# SPDX-License-Identifier: Apache-2.0
"""Small policies put together from components, and their YAML files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from torch import Tensor

from policy_ros.data import ACTION
from policy_ros.policies import POLICY_REGISTRY, build_policy
from policy_ros.policies.base import ACTION_IS_PAD
from policy_ros.policies.components.config import ComponentConfig
from policy_ros.policies.components.policy import ComponentPolicy
from policy_ros.policies.guidance import Target
from policy_ros.rtc import guided_velocity


@dataclass(frozen=True, kw_only=True)
class ComponentFlowConfig(ComponentConfig):
    """Options of :class:`ComponentFlow`."""

    supports_guidance: ClassVar[bool] = True
    uses_noise: ClassVar[bool] = True

    flow_steps: int = 3


@POLICY_REGISTRY.register("component_flow")
class ComponentFlow(ComponentPolicy):
    """Flow matching: ``eyes`` see, ``head`` says where rows go."""

    name = "component_flow"
    config_class = ComponentFlowConfig
    config: ComponentFlowConfig
    required_components = ("eyes", "head")

    def infer(self, batch: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        return self._follow(batch, noise, lambda velocity, x, tau: velocity(x, tau))

    def infer_guided(self, batch: Mapping[str, Tensor], noise: Tensor | None, target: Target) -> Tensor:
        options = target.options
        return self._follow(
            batch,
            noise,
            lambda velocity, x, tau: guided_velocity(
                velocity, x, tau, target.prefix, target.weights, options.max_weight, options.jacobian
            ),
        )

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        target = batch[ACTION]
        noise, tau = torch.randn_like(target), torch.rand(len(target), 1)
        at = tau.unsqueeze(-1)
        velocity = self._velocity(self._seen(batch), at * target + (1 - at) * noise, tau)
        error = (velocity - (target - noise)).square() * ~batch[ACTION_IS_PAD].unsqueeze(-1)
        return error.mean(), {"flow": error.mean().item()}

    def _follow(
        self,
        batch: Mapping[str, Tensor],
        noise: Tensor | None,
        step: Callable[[Callable[[Tensor, float], Tensor], Tensor, float], Tensor],
    ) -> Tensor:
        seen = self._seen(batch)
        x = torch.randn(len(seen), *self.config.noise_shape, device=self.device) if noise is None else noise

        def velocity(x: Tensor, tau: float) -> Tensor:
            return self._velocity(seen, x, x.new_full((len(x), 1), tau))

        for index in range(self.config.flow_steps):
            x = x + step(velocity, x, index / self.config.flow_steps) / self.config.flow_steps
        return x

    def _seen(self, batch: Mapping[str, Tensor]) -> Tensor:
        inputs = self.inputs(batch)
        eyes = self.components["eyes"](inputs["head"].flatten(0, 1)).unflatten(0, inputs["head"].shape[:2])
        return torch.cat((inputs["proprio"].flatten(1), eyes.flatten(1)), dim=1)

    def _velocity(self, seen: Tensor, x: Tensor, tau: Tensor) -> Tensor:
        return self.components["head"](torch.cat((seen, x.flatten(1), tau), dim=1)).view_as(x)


STATE, HISTORY, ROWS = 3, 2, 8


def flow_files(
    joints: int = STATE, camera: str = "front", size: tuple[int, int] = (48, 64)
) -> dict[str, dict[str, Any]]:
    """Path to content of the YAML files of a :class:`ComponentFlow` with one camera; joints are seen two steps back."""
    seen = joints * HISTORY + 4
    return {
        "policy.yaml": {
            "model": {"component_config_paths": {"eyes": "components/eyes.yaml", "head": "components/head.yaml"}},
            "features": {
                "proprio": {"shape": [joints], "steps": HISTORY},
                "head": {"shape": [3, *size], "from": f"observation.images.{camera}"},
                "action": {"shape": [joints]},
            },
            "normalization": {"modes": {"STATE": "MEAN_STD", "ACTION": "MEAN_STD"}, "statistics": "statistics.json"},
            "policy": {"type": "component_flow", "chunk_size": ROWS},
        },
        "components/eyes.yaml": {"type": "resnet", "output_dim": 4, "width": 8, "stages": 2},
        "components/head.yaml": {
            "type": "mlp",
            "input_dim": seen + ROWS * joints + 1,
            "hidden_dims": [32],
            "output_dim": ROWS * joints,
        },
        "statistics.json": {
            "observation.state": {"mean": [0.1] * joints, "std": [0.5] * joints},
            "action": {"mean": [0.0] * joints, "std": [0.02] * joints},
        },
    }


def write_files(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> Path:
    """YAML and JSON files below ``directory``; the path of the policy's."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return directory / "policy.yaml"


def write_component_flow(
    directory: Path, joints: int = STATE, camera: str = "front", size: tuple[int, int] = (48, 64)
) -> Path:
    """A checkpoint of a :class:`ComponentFlow` with repeatable weights; the path of its YAML file."""
    file = write_files(directory, flow_files(joints, camera, size))
    torch.manual_seed(0)
    build_policy(file, trained=False).save_pretrained(directory)
    return file
