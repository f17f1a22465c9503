# SPDX-License-Identifier: Apache-2.0
"""A diffusion policy that has learnt nothing, for the robot of a checkpoint that has."""

from __future__ import annotations

from pathlib import Path

import torch

from policy_ros.policies import load_policy, make_policy
from policy_ros.policies.features import features_to_json

# Of the size of the policies that come along, and as fast: 1.6 million parameters, five steps of denoising. It looks at
# two observations, they at one.
OPTIONS = {
    "n_obs_steps": 2,
    "horizon": 48,
    "n_action_steps": 32,
    "down_dims": [32, 64, 128],
    "kernel_size": 3,
    "spatial_softmax_num_keypoints": 8,
    "crop_shape": None,
    "noise_scheduler_type": "DDIM",
    "num_inference_steps": 5,
    "use_separate_rgb_encoder_per_camera": False,
    "normalization_mapping": dict.fromkeys(("VISUAL", "STATE", "ACTION"), "MEAN_STD"),
}


def write_diffusion(like: Path, directory: Path) -> Path:
    """Its checkpoint, with features, statistics and relative actions of the one at ``like``."""
    example = load_policy(like, device="cpu")
    torch.manual_seed(0)
    config = example.config
    features = {
        "input_features": features_to_json(config.input_features),
        "output_features": features_to_json(config.output_features),
    }
    statistics = example.normalization.statistics()
    policy = make_policy("diffusion", {**OPTIONS, **features}, statistics=statistics, device="cpu")
    policy.relative = example.relative
    policy.save_pretrained(directory)
    return directory
