# SPDX-License-Identifier: Apache-2.0
"""State, environment and images to one memory that a decoder attends to (Zhao et al. 2023, arXiv:2304.13705).

    further tokens ───────────────┐
    state ──► linear ─────────────┤
    environment ──► linear ───────┼─► encoder ─► memory
    images ─► ResNet ─► 1x1 conv ─┘

Parameter names are those of LeRobot's ACT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.policies.encoder_config import EncoderConfig
from policy_ros.policies.nn.frozen_batch_norm import FrozenBatchNorm2d
from policy_ros.policies.nn.position import sinusoidal_positions_2d
from policy_ros.policies.nn.resnet import NormLayer, ResNet, group_norm
from policy_ros.policies.nn.transformer import Encoder

_NORMS: Mapping[str, NormLayer] = {"frozen_batch_norm": FrozenBatchNorm2d, "group_norm": group_norm}


class Inputs(NamedTuple):
    """What the network sees, in its own units.

    Attributes:
        images: one ``(B, 3, H, W)`` per camera.
        state: ``(B, n)`` or None.
        environment: ``(B, n)`` or None.
    """

    images: Sequence[Tensor]
    state: Tensor | None
    environment: Tensor | None

    @classmethod
    def of(cls, batch: Mapping[str, Tensor], config: EncoderConfig) -> Inputs:
        """From feature key to values."""
        images = [batch[key] for key in config.image_features]
        return cls(images, batch.get(OBSERVATION_STATE), batch.get(OBSERVATION_ENVIRONMENT_STATE))

    @property
    def batch_size(self) -> int:
        """B."""
        return next(x for x in (*self.images, self.environment, self.state) if x is not None).shape[0]


class Memory(NamedTuple):
    """What a decoder attends to: tokens ``(B, S, D)`` and their positions ``(1, S, D)``."""

    tokens: Tensor
    positions: Tensor


class ObservationEncoder(nn.Module):
    """Base of networks that encode an observation.

    Args:
        config: options.
        further_tokens: how many tokens a subclass puts in front of the observation's.
    """

    def __init__(self, config: EncoderConfig, *, further_tokens: int = 0) -> None:
        super().__init__()
        dim, state, environment = config.dim_model, config.state_feature, config.environment_feature
        self._dim = dim
        if config.image_features:
            self.backbone = ResNet(
                config.vision_backbone,
                dilate_last_stage=config.replace_final_stride_with_dilation,
                norm=_NORMS[config.backbone_norm],
                stem_channels=config.backbone_width,
                stages=config.backbone_stages,
            )
            self.encoder_img_feat_input_proj = nn.Conv2d(self.backbone.out_channels, dim, kernel_size=1)
        self.encoder = Encoder(config.layer_shape, config.n_encoder_layers)
        if state is not None:
            self.encoder_robot_state_input_proj = nn.Linear(state.shape[0], dim)
        if environment is not None:
            self.encoder_env_state_input_proj = nn.Linear(environment.shape[0], dim)
        vectors = further_tokens + (state is not None) + (environment is not None)
        self.encoder_1d_feature_pos_embed = nn.Embedding(vectors, dim)

    def encode(self, inputs: Inputs, further: Sequence[Tensor] = ()) -> Memory:
        """The memory of an observation; ``further`` are tokens ``(B, D)``."""
        vectors = list(further)
        if inputs.state is not None:
            vectors.append(self.encoder_robot_state_input_proj(inputs.state))
        if inputs.environment is not None:
            vectors.append(self.encoder_env_state_input_proj(inputs.environment))
        tokens = [torch.stack(vectors, dim=1)] if vectors else []
        positions = [self.encoder_1d_feature_pos_embed.weight]
        for image in inputs.images:
            # One camera at a time: convolutions over a batch of cameras round differently, by up to 2e-4 in an action.
            features = self.backbone(image)
            height, width = features.shape[-2:]
            cells = sinusoidal_positions_2d(height, width, self._dim, features.device)
            tokens.append(self.encoder_img_feat_input_proj(features).flatten(2).transpose(1, 2))
            positions.append(cells.flatten(1).T.to(features.dtype))
        at = torch.cat(positions).unsqueeze(0)
        return Memory(self.encoder(torch.cat(tokens, dim=1), at), at)


def initialise(*stacks: nn.Module) -> None:
    """Xavier-uniform matrices, as DETR and ACT start from."""
    for stack in stacks:
        for parameter in stack.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
