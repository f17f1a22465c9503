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
SQUARE_SHAPE = (3, 48, 48)


def write_act(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny ACT whose actions lie within a few hundredths around zero."""
    return _write("act", directory, joints, (camera,), chunk_size, {"use_vae": False})


def write_flow(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny flow-matching policy whose actions lie within a few hundredths around zero; it can be guided."""
    return _write("flow", directory, joints, (camera,), chunk_size, {"num_inference_steps": 3})


def write_pick_act(directory: Path) -> Path:
    """A tiny ACT for the simulated robot that has never learnt anything: it stretches the arm out."""
    return _write("act", directory, 4, ("top", "wrist"), 20, {"use_vae": False})


def write_tdmpc(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, horizon: int = 6) -> Path:
    """A tiny TD-MPC that plans a chunk of ``horizon`` rows within a few hundredths around zero."""
    options = {
        "n_action_repeats": 1,
        "horizon": horizon,
        "n_action_steps": horizon // 2,
        "latent_dim": 8,
        "mlp_dim": 16,
        "state_encoder_hidden_dim": 16,
        "image_encoder_hidden_dim": 4,
        "n_gaussian_samples": 24,
        "n_pi_samples": 4,
        "n_elites": 6,
        "cem_iterations": 2,
    }
    return _save("tdmpc", directory, joints, (camera,), SQUARE_SHAPE, options)


def write_diffusion(
    directory: Path,
    *,
    joints: int = len(JOINTS),
    camera: str = CAMERA,
    chunk_size: int = 20,
    n_obs_steps: int = 1,
    **options: object,
) -> Path:
    """A tiny diffusion policy (DDIM) whose actions lie within a few hundredths around zero; it can be guided.

    ``chunk_size + n_obs_steps`` must be odd, which is a matter of its U-Net.
    """
    tiny = {
        "n_obs_steps": n_obs_steps,
        "horizon": chunk_size + n_obs_steps - 1,
        "n_action_steps": chunk_size,
        "down_dims": [16],
        "kernel_size": 3,
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 3,
        **options,
    }
    return _save("diffusion", directory, joints, (camera,), IMAGE_SHAPE, tiny)


def write_vqbet(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, chunk_size: int = 20) -> Path:
    """A tiny VQ-BeT whose actions lie within a few hundredths around zero; it looks back at one observation."""
    from policy_ros.policies import load_policy

    options = {
        "n_obs_steps": 2,
        "n_action_pred_token": 2,
        "action_chunk_size": chunk_size,
        "crop_shape": None,
        "spatial_softmax_num_keypoints": 4,
        "vqvae_n_embed": 4,
        "vqvae_embedding_dim": 8,
        "vqvae_enc_hidden_dim": 16,
        "gpt_block_size": 16,
        "gpt_input_dim": 16,
        "gpt_output_dim": 16,
        "gpt_hidden_dim": 16,
        "gpt_n_head": 2,
        "gpt_n_layer": 1,
    }
    _save("vqbet", directory, joints, (camera,), IMAGE_SHAPE, options)
    policy = load_policy(directory, device="cpu")
    policy.tokenizer.discretized.fill_(True)  # as if it had been trained, so that nothing warns
    policy.save_pretrained(directory)
    return directory


def write_sac(directory: Path, *, joints: int = len(JOINTS), camera: str = CAMERA, **options: object) -> Path:
    """A tiny Gaussian actor, which answers with one action within a few hundredths around zero."""
    tiny = {
        "latent_dim": 8,
        "image_encoder_hidden_dim": 4,
        "image_embedding_pooling_dim": 2,
        "actor_network_kwargs": {"hidden_dims": [16]},
        **options,
    }
    return _save("gaussian_actor", directory, joints, (camera,), IMAGE_SHAPE, tiny)


def _write(
    name: str, directory: Path, joints: int, cameras: Sequence[str], chunk_size: int, options: Mapping[str, object]
) -> Path:
    """One with a transformer."""
    tiny = {
        "chunk_size": chunk_size,
        "n_action_steps": chunk_size,
        "dim_model": 32,
        "n_heads": 2,
        "dim_feedforward": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "pretrained_backbone_weights": None,
        **options,
    }
    return _save(name, directory, joints, cameras, IMAGE_SHAPE, tiny)


def _save(
    name: str,
    directory: Path,
    joints: int,
    cameras: Sequence[str],
    image_shape: tuple[int, int, int],
    options: Mapping[str, object],
) -> Path:
    import torch

    from policy_ros.policies import make_policy

    images = [f"observation.images.{camera}" for camera in cameras]
    features = {
        "observation.state": {"type": "STATE", "shape": [joints]},
        **{key: {"type": "VISUAL", "shape": list(image_shape)} for key in images},
    }
    one = torch.ones(joints)
    pixel = torch.ones(3, 1, 1)
    torch.manual_seed(0)
    policy = make_policy(
        name,
        {
            "input_features": features,
            "output_features": {"action": {"type": "ACTION", "shape": [joints]}},
            **options,
        },
        statistics={
            "observation.state": {"mean": 0 * one, "std": one, "min": -one, "max": one},
            **{key: {"mean": 0 * pixel, "std": pixel} for key in images},
            "action": {"mean": 0 * one, "std": 0.02 * one, "min": -0.05 * one, "max": 0.05 * one},
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
