# SPDX-License-Identifier: Apache-2.0
"""The policies of a soak as checkpoints: fresh, seeded weights, of types that misbehave on order."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from policy_ros.parameters.policy import load_cold_policy
from soaking.configuration import CHUNK_SIZE, Configuration

PREFIX = "unreliable_"  # of the types that unreliable_node.py registers
OVERRIDES = {
    "act": {"n_encoder_layers": 2, "use_vae": False},
    "flow": {"n_encoder_layers": 2, "n_decoder_layers": 2, "num_inference_steps": 4},
}
COMMON_OVERRIDES = {
    "chunk_size": CHUNK_SIZE,
    "n_action_steps": CHUNK_SIZE,
    "dim_model": 128,
    "n_heads": 4,
    "dim_feedforward": 256,
    "pretrained_backbone_weights": None,
}


def write_checkpoints(policies: Iterable[str], configuration: Configuration, folder: Path) -> None:
    """One directory for each policy, of its name."""
    for policy in policies:
        kind = policy.removeprefix(PREFIX)
        overrides = json.dumps({**COMMON_OVERRIDES, **OVERRIDES[kind]})
        parameters = configuration.parameters
        chosen = dataclasses.replace(parameters.policy, type=kind, overrides=overrides)
        directory = folder / policy
        shutil.rmtree(directory, ignore_errors=True)
        load_cold_policy(dataclasses.replace(parameters, policy=chosen)).save_pretrained(directory)
        file = directory / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "type": policy}))
