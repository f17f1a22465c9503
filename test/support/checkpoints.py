# SPDX-License-Identifier: Apache-2.0
"""Small real checkpoints for tests of the node."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

JOINTS = ("shoulder", "elbow", "wrist")
CAMERA = "front"
IMAGE_SHAPE = (3, 48, 64)


def write_act(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny ACT whose actions lie within a few hundredths around zero."""
    import torch

    from policy_ros.policies import make_policy

    features = {
        "observation.state": {"type": "STATE", "shape": [joints]},
        f"observation.images.{camera}": {"type": "VISUAL", "shape": list(IMAGE_SHAPE)},
    }
    one = torch.ones(joints)
    pixel = torch.ones(3, 1, 1)
    torch.manual_seed(0)
    policy = make_policy(
        "act",
        {
            "input_features": features,
            "output_features": {"action": {"type": "ACTION", "shape": [joints]}},
            "chunk_size": chunk_size,
            "n_action_steps": chunk_size,
            "dim_model": 32,
            "n_heads": 2,
            "dim_feedforward": 32,
            "n_encoder_layers": 1,
            "use_vae": False,
            "pretrained_backbone_weights": None,
        },
        statistics={
            "observation.state": {"mean": 0 * one, "std": one},
            f"observation.images.{camera}": {"mean": 0 * pixel, "std": pixel},
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
