# SPDX-License-Identifier: Apache-2.0
"""Small real checkpoints for tests of the node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

JOINTS = ("shoulder", "elbow", "wrist")
CAMERA = "front"
IMAGE_SHAPE = (3, 48, 64)


def write_act(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny ACT whose actions lie within a few hundredths around zero."""
    return _write("act", directory, joints, (camera,), chunk_size, {"use_vae": False})


def write_flow(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny flow-matching policy whose actions lie within a few hundredths around zero; it can be guided."""
    return _write("flow", directory, joints, (camera,), chunk_size, {"num_inference_steps": 3})


def write_pick_act(directory: Path) -> Path:
    """A tiny ACT for the simulated robot that has never learnt anything: it stretches the arm out."""
    return _write("act", directory, 4, ("top", "wrist"), 20, {"use_vae": False})


def _write(
    name: str, directory: Path, joints: int, cameras: Sequence[str], chunk_size: int, options: Mapping[str, object]
) -> Path:
    import torch

    from policy_ros.policies import make_policy

    images = [f"observation.images.{camera}" for camera in cameras]
    features = {
        "observation.state": {"type": "STATE", "shape": [joints]},
        **{key: {"type": "VISUAL", "shape": list(IMAGE_SHAPE)} for key in images},
    }
    one = torch.ones(joints)
    pixel = torch.ones(3, 1, 1)
    torch.manual_seed(0)
    policy = make_policy(
        name,
        {
            "input_features": features,
            "output_features": {"action": {"type": "ACTION", "shape": [joints]}},
            "chunk_size": chunk_size,
            "n_action_steps": chunk_size,
            "dim_model": 32,
            "n_heads": 2,
            "dim_feedforward": 32,
            "n_encoder_layers": 1,
            "n_decoder_layers": 1,
            "pretrained_backbone_weights": None,
            **options,
        },
        statistics={
            "observation.state": {"mean": 0 * one, "std": one},
            **{key: {"mean": 0 * pixel, "std": pixel} for key in images},
            "action": {"mean": 0 * one, "std": 0.02 * one},
        },
        device="cpu",
    )
    policy.save_pretrained(directory)
    return directory


def retype(checkpoint: Path, directory: Path, name: str) -> Path:
    """A copy of a checkpoint that says it is of another policy type."""
    shutil.copytree(checkpoint, directory)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config["type"] = name
    file.write_text(json.dumps(config))
    return directory
