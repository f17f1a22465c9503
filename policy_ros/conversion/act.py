# SPDX-License-Identifier: Apache-2.0
"""ACT as published by its authors (Zhao et al. 2023, github.com/tonyzhaozh/act) to LeRobot's layout.

The file of weights is the ``state_dict`` of their ``ACTPolicy``, the statistics are in ``dataset_stats.pkl`` beside it.
What neither says (cameras, size of images, heads) is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policy_ros.conversion.directories import check_free
from policy_ros.conversion.naming import Renaming
from policy_ros.conversion.result import Conversion, make, write
from policy_ros.conversion.statistics_pickle import read_arrays
from policy_ros.conversion.torch_files import checked_tensors, read_torch_file
from policy_ros.data import ACTION, OBSERVATION_IMAGE_PREFIX, OBSERVATION_STATE
from policy_ros.errors import CheckpointError, ConfigurationError
from policy_ros.policies.act.config import ACTConfig
from policy_ros.policies.act.policy import ACTPolicy
from policy_ros.policies.normalization import Normalization

WEIGHTS = "policy_best.ckpt"
STATISTICS = "dataset_stats.pkl"

# torchvision's, with which the original normalises images.
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_BACKBONES: dict[tuple[int, ...], str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
_ENSEMBLE_RATE = 0.01  # of the original's temporal aggregation

_DECODER_LAYER = re.compile(r"model\.transformer\.decoder\.layers\.(\d+)\.")

_NAMES = {
    "transformer.encoder.": "encoder.",
    "transformer.decoder.layers.0.": "decoder.layers.0.",
    "transformer.decoder.norm.": "decoder.norm.",
    "backbones.0.0.body.": "backbone.",
    "input_proj.": "encoder_img_feat_input_proj.",
    "input_proj_robot_state.": "encoder_robot_state_input_proj.",
    "latent_out_proj.": "encoder_latent_input_proj.",
    "additional_pos_embed.": "encoder_1d_feature_pos_embed.",
    "query_embed.": "decoder_pos_embed.",
    "action_head.": "action_head.",
    "encoder.": "vae_encoder.",
    "cls_embed.": "vae_encoder_cls_embed.",
    "encoder_joint_proj.": "vae_encoder_robot_state_input_proj.",
    "encoder_action_proj.": "vae_encoder_action_input_proj.",
    "latent_proj.": "vae_encoder_latent_output_proj.",
    "pos_table": "vae_encoder_pos_enc",
}


@dataclass(frozen=True, kw_only=True)
class ACTAnswers:
    """What the files do not say.

    Attributes:
        cameras: names, in the order of ``camera_names`` in the original's task.
        image_size: height and width of its images.
        heads: of attention; the original's script always has 8.
        dilation: whether its backbone was made with ``--dilation``.
        temporal_aggregation: run as with ``--temporal_agg``: a prediction at every step, averaged.
        kl_weight: for further training.
    """

    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    heads: int = 8
    dilation: bool = False
    temporal_aggregation: bool = False
    kl_weight: float = 10.0

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) != len(self.cameras) or not all(self.cameras):
            raise ConfigurationError(f"--cameras: expected different names, got {', '.join(self.cameras) or 'none'}")


def convert_act(source: Path, out: Path, answers: ACTAnswers, *, overwrite: bool = False) -> Conversion:
    """Convert an ACT of its authors.

    Args:
        source: the file of weights, or the directory with ``policy_best.ckpt``; ``dataset_stats.pkl`` lies beside it.
        out: directory of the checkpoint.
        answers: what the files do not say.
        overwrite: replace a checkpoint that is there.

    Raises:
        CheckpointError: a file is missing, corrupt or needs code, or holds another network than ACT with images.
        ConfigurationError: an answer cannot be, or ``out`` exists.
    """
    check_free(out, overwrite=overwrite)
    path = source / WEIGHTS if source.is_dir() else source
    values = checked_tensors(path, read_torch_file(path), "the state_dict of an ACTPolicy")
    arrays = read_arrays(path.with_name(STATISTICS))
    renaming = Renaming(values)
    try:
        tensors, notes = _rename(renaming)
        config = _config(tensors, answers)
    except (CheckpointError, ConfigurationError) as error:
        raise type(error)(f"{path}: {error}") from error
    statistics = _statistics(path.with_name(STATISTICS), arrays, config)
    # The original adds nothing to its divisors.
    policy = make(ACTPolicy, config, Normalization(config, statistics, eps=0.0), tensors, path)
    return write(policy, out, notes, overwrite=overwrite)


def _rename(renaming: Renaming) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if renaming.has("model.mlp.") or renaming.has("model.backbone_down_projs."):
        raise CheckpointError("expected ACT, got the CNNMLP policy, for which there is none here")
    if renaming.has("model.input_proj_env_state."):
        raise CheckpointError("expected ACT with images, got the variant without, which LeRobot's ACT has not")
    if renaming.has("model.backbones.1."):
        raise CheckpointError("expected one backbone for all cameras, got several: another variant of ACT")
    if renaming.has("model.backbones.0.1."):
        raise CheckpointError("expected sines as positions in images, got learned ones (--position_embedding learned)")
    notes = []
    layers = {match[1] for match in map(_DECODER_LAYER.match, renaming.names()) if match}
    for layer in layers - {"0"}:
        renaming.drop(f"model.transformer.decoder.layers.{layer}.")
    if len(layers) > 1:
        notes.append(
            f"decoder layers 1 to {len(layers) - 1} left out: the original answers with the output of layer 0 alone"
        )
    renaming.drop("model.is_pad_head.")
    notes.append("is_pad_head left out: the original computes it and does not use it")
    for before, after in _NAMES.items():
        renaming.move(f"model.{before}", f"model.{after}")
    return renaming.finish(), tuple(notes)


def _config(tensors: Mapping[str, Tensor], answers: ACTAnswers) -> ACTConfig:
    action_dim, dim = _shape(tensors, "model.action_head.weight", 2)
    _, state_dim = _shape(tensors, "model.encoder_robot_state_input_proj.weight", 2)
    chunk_size, _ = _shape(tensors, "model.decoder_pos_embed.weight", 2)
    height, width = answers.image_size
    options: dict[str, Any] = {
        "input_features": {
            OBSERVATION_STATE: {"type": "STATE", "shape": [state_dim]},
            **{
                f"{OBSERVATION_IMAGE_PREFIX}{camera}": {"type": "VISUAL", "shape": [3, height, width]}
                for camera in answers.cameras
            },
        },
        "output_features": {ACTION: {"type": "ACTION", "shape": [action_dim]}},
        "chunk_size": chunk_size,
        "n_action_steps": 1 if answers.temporal_aggregation else chunk_size,
        "temporal_ensemble_coeff": _ENSEMBLE_RATE if answers.temporal_aggregation else None,
        "vision_backbone": _backbone(tensors),
        "replace_final_stride_with_dilation": answers.dilation,
        "pre_norm": "model.encoder.norm.weight" in tensors,
        "dim_model": dim,
        "n_heads": answers.heads,
        "dim_feedforward": _shape(tensors, "model.encoder.layers.0.linear1.weight", 2)[0],
        "n_encoder_layers": _count(tensors, r"model\.encoder\.layers\.(\d+)\."),
        "n_decoder_layers": 1,
        "n_vae_encoder_layers": _count(tensors, r"model\.vae_encoder\.layers\.(\d+)\."),
        "latent_dim": _shape(tensors, "model.encoder_latent_input_proj.weight", 2)[1],
        "kl_weight": answers.kl_weight,
    }
    return ACTConfig.from_dict(options)


def _backbone(tensors: Mapping[str, Tensor]) -> str:
    depths = tuple(_count(tensors, rf"model\.backbone\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    bottleneck = "model.backbone.layer1.0.conv3.weight" in tensors
    name = ("resnet50" if depths == (3, 4, 6, 3) else None) if bottleneck else _BACKBONES.get(depths)
    if name is None:
        raise CheckpointError(f"expected ResNet-18, 34 or 50 as backbone, got one with {depths} blocks in its stages")
    return name


def _statistics(path: Path, arrays: Mapping[str, Any], config: ACTConfig) -> dict[str, dict[str, Tensor]]:
    missing = [name for name in ("qpos_mean", "qpos_std", "action_mean", "action_std") if name not in arrays]
    if missing:
        raise CheckpointError(f"{path}: expected {', '.join(missing)}, got {', '.join(arrays) or 'nothing'}")
    vectors = {name: torch.from_numpy(array.astype(np.float32).reshape(-1)) for name, array in arrays.items()}
    for name in ("qpos_std", "action_std"):
        if not (vectors[name] > 0).all():
            raise CheckpointError(f"{path}: '{name}': expected positive numbers, got {vectors[name].min().item()}")
    image = {name: torch.tensor(values).reshape(3, 1, 1) for name, values in _IMAGENET.items()}
    return {
        OBSERVATION_STATE: {"mean": vectors["qpos_mean"], "std": vectors["qpos_std"]},
        ACTION: {"mean": vectors["action_mean"], "std": vectors["action_std"]},
        **dict.fromkeys(config.image_features, image),
    }


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].dim() != axes:
        raise CheckpointError(f"expected ACT, but the tensor for '{name}' is missing or of another shape")
    return tuple(tensors[name].shape)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for match in (re.match(pattern, name) for name in tensors) if match})
