# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint of LeRobot's to one that policy_ros runs through it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from policy_ros.data import ACTION, FeatureSpec, FeatureType
from policy_ros.errors import CheckpointError
from policy_ros.policies import available_policies
from policy_ros.policies.checkpoint import CONFIG_FILE
from policy_ros.policies.features import features_to_json
from policy_ros.policies.files import write_json
from policy_ros.policies.lerobot.config import LeRobotConfig
from policy_ros.policies.lerobot.library import LEROBOT_CONFIG_FILE, Wrapped, read_wrapped
from policy_ros.policies.lerobot.policy import LeRobotPolicy, chunk_of, observed

# Cameras that a policy was trained without: LeRobot fills them in.
_EMPTY = "observation.images.empty_camera_"
_SUFFIXES = (".json", ".safetensors")


def wrap_checkpoint(source: str | os.PathLike[str], directory: str | os.PathLike[str]) -> LeRobotPolicy:
    """Make a checkpoint that the node loads of one that only LeRobot can run, such as a vision-language-action model.

    The files are linked where the file system can, else copied; LeRobot's ``config.json`` becomes
    ``lerobot_config.json``. The policy is asked once, on zeros, how many rows it returns.

    Args:
        source: checkpoint directory of LeRobot's, as ``save_pretrained`` and ``lerobot-train`` write it.
        directory: a new one.

    Returns:
        The policy, on the CPU.

    Raises:
        CheckpointError: LeRobot cannot load it, it has no chunks, or ``directory`` exists.
        ConfigurationError: LeRobot is not installed.
    """
    path, into = Path(source), Path(directory)
    if into.exists():
        raise CheckpointError(f"{into}: expected a directory that does not exist yet")
    wrapped = read_wrapped(path, torch.device("cpu"), CONFIG_FILE)
    config = _described(wrapped)
    into.mkdir(parents=True)
    for file in path.iterdir():
        if file.is_file() and file.suffix in _SUFFIXES:
            _link(file, into / (LEROBOT_CONFIG_FILE if file.name == CONFIG_FILE else file.name))
    write_json(into / CONFIG_FILE, {"type": LeRobotPolicy.name, **config.to_dict()})
    return LeRobotPolicy(config, None, wrapped)


def _described(wrapped: Wrapped) -> LeRobotConfig:
    theirs = wrapped.config
    features: dict[str, Any] = {
        "input_features": _features(theirs.input_features),
        "output_features": _features({ACTION: theirs.output_features[ACTION]}),
        "n_obs_steps": theirs.n_obs_steps,
    }
    probed = LeRobotConfig.from_dict({**features, "chunk_size": 1})
    rows = _rows(wrapped, probed)
    executed = max(getattr(theirs, "n_action_steps", rows), getattr(theirs, "n_action_repeats", 1))
    return LeRobotConfig.from_dict({**features, "chunk_size": rows, "n_action_steps": min(rows, executed)})


def _rows(wrapped: Wrapped, config: LeRobotConfig) -> int:
    """H, by asking once."""
    time = () if config.n_obs_steps == 1 else (config.n_obs_steps,)
    zeros: dict[str, Any] = {key: torch.zeros(1, *time, *spec.shape) for key, spec in config.observed_features.items()}
    model: Any = wrapped.policy
    try:
        with torch.inference_mode(), observed(model, wrapped.preprocess({**zeros, "task": [""]}), config) as seen:
            return chunk_of(model, seen).shape[1]
    except Exception as error:  # whatever a policy of somebody else's raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise CheckpointError(
            f"LeRobot's '{model.name}' does not answer with a chunk: {reason}; if it is one of "
            f"{', '.join(available_policies())}, load its checkpoint as it is"
        ) from error


def _features(theirs: Any) -> dict[str, dict[str, Any]]:
    kinds = {kind.value for kind in FeatureType}
    return features_to_json(
        {
            key: FeatureSpec(FeatureType(spec.type.value), tuple(spec.shape))
            for key, spec in theirs.items()
            if spec.type.value in kinds and not key.startswith(_EMPTY)
        }
    )


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)
