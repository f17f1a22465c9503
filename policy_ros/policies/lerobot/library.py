# SPDX-License-Identifier: Apache-2.0
"""LeRobot's policies and processors, read by LeRobot from files that are checked before.

LeRobot would import a processor step by the module's name in ``class``; such steps are refused, so that a checkpoint
names nothing but entries of LeRobot's own registries. It would also fetch trained weights of a backbone that the
checkpoint replaces anyway.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from policy_ros.errors import CheckpointError, ConfigurationError, closest
from policy_ros.policies.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from policy_ros.policies.files import read_json, tensor_shapes
from policy_ros.policies.limits import MAX_WEIGHTS_BYTES
from policy_ros.policies.processors import POSTPROCESSOR, PREPROCESSOR

LEROBOT_CONFIG_FILE = "lerobot_config.json"

_DEVICE = "device_processor"
_RENAME = "rename_observations_processor"


@dataclass(frozen=True)
class Wrapped:
    """A policy of LeRobot's and what belongs around it.

    Attributes:
        policy: a ``PreTrainedPolicy``.
        preprocess: observations ``(B, …)`` in robot units to what the policy takes.
        postprocess: actions ``(B, N, A)`` or ``(B, A)`` of the policy to robot units.
        rename_map: observation key to the policy's own key.
    """

    policy: nn.Module
    preprocess: Callable[[dict[str, Any]], dict[str, Any]]
    postprocess: Callable[[Tensor], Tensor]
    rename_map: Mapping[str, str]

    @property
    def config(self) -> Any:
        """LeRobot's options."""
        return self.policy.config


def read_wrapped(path: Path, device: torch.device, config_file: str = LEROBOT_CONFIG_FILE) -> Wrapped:
    """A checkpoint of LeRobot's, on a device.

    Args:
        path: directory with its weights and processors.
        device: where to put it.
        config_file: name of LeRobot's configuration in there.

    Raises:
        ConfigurationError: LeRobot is not installed, or not the one that this is written for.
        CheckpointError: a file is missing or unsafe, or LeRobot cannot make a policy of it.
    """
    values = read_json(path / config_file)
    steps = _read_steps(path, PREPROCESSOR)
    placed = _placement(steps, device), _placement(_read_steps(path, POSTPROCESSOR), torch.device("cpu"))
    tensor_shapes(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    factory, base = _library()
    kind = values.get("type")
    known = base.get_known_choices()
    if not isinstance(kind, str) or kind not in known:
        raise CheckpointError(f"{path / config_file}: LeRobot has no policy {kind!r:.80}: {closest(str(kind), known)}")
    if values.get("use_peft"):
        raise CheckpointError(
            f"{path / config_file}: expected use_peft false; merge the adapter into the weights first"
        )
    try:
        # Its progress reports go to stdout, which belongs to the command line's --json.
        with contextlib.redirect_stdout(sys.stderr):
            config = _decode(base, values, device)
            policy = factory.get_policy_class(kind).from_pretrained(path, config=config, strict=True)
            before, after = factory.make_pre_post_processors(
                config, str(path), preprocessor_overrides=placed[0], postprocessor_overrides=placed[1]
            )
    except Exception as error:  # whatever a policy of somebody else's raises
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{path}: LeRobot cannot load it as '{kind}': {type(error).__name__}: {reason}"
        ) from error
    return Wrapped(policy.to(device).eval(), before, after, _renamed(steps))


def _library() -> tuple[ModuleType, Any]:
    """LeRobot's factory, and the base of its configurations, which is their registry."""
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies import factory
    except ImportError as error:
        raise ConfigurationError(
            "policy 'lerobot' needs LeRobot, 0.6.1 or compatible, in the same Python environment: "
            f"pip install lerobot ({error})"
        ) from None
    module: ModuleType = factory
    return module, PreTrainedConfig


def _decode(base: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    """LeRobot's configuration, which it reads from a file of this name only."""
    changed = {**values, "device": device.type}
    if "pretrained_backbone_weights" in values:
        changed["pretrained_backbone_weights"] = None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CONFIG_FILE).write_text(json.dumps(changed), encoding="utf-8")
        return base.from_pretrained(folder, local_files_only=True)


def _read_steps(path: Path, pipeline: str) -> list[dict[str, Any]]:
    """The steps of a pipeline, each of which names an entry of LeRobot's registry and a file in this directory."""
    file = path / f"{pipeline}.json"
    steps = read_json(file).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f"{file}: expected a list of steps, got {steps!r:.80}")
    for index, step in enumerate(steps):
        if not isinstance(step.get("registry_name"), str) or "class" in step:
            raise CheckpointError(
                f"{file}: step {index} expected a registry_name, got {step.get('class', step)!r:.80}; "
                "a step that is named by its module would be imported"
            )
        state = step.get("state_file")
        if state is not None and (Path(str(state)).name != state or not state.endswith(".safetensors")):
            raise CheckpointError(f"{file}: step {index} expected a safetensors file here, got {state!r:.80}")
    return steps


def _placement(steps: list[dict[str, Any]], device: torch.device) -> dict[str, Any]:
    return {_DEVICE: {"device": str(device)}} if any(step["registry_name"] == _DEVICE for step in steps) else {}


def _renamed(steps: list[dict[str, Any]]) -> dict[str, str]:
    options = [step.get("config", {}) for step in steps if step["registry_name"] == _RENAME]
    return {str(key): str(name) for each in options for key, name in each.get("rename_map", {}).items()}
