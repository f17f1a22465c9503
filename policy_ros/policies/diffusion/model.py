# SPDX-License-Identifier: Apache-2.0
"""The network of the diffusion policy (Chi et al. 2023, arXiv:2303.04137, with the convolutional U-Net).

    images ─► resize ─► keypoint encoder ─┐
    state ────────────────────────────────┼─► condition ─► U-Net ─► noise or clean rows (B, horizon, A)
    environment ──────────────────────────┘                  ▲
                                     noisy rows, timestep ───┘

Parameter names are LeRobot's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE
from policy_ros.policies.diffusion.config import DiffusionConfig
from policy_ros.policies.diffusion.unet import Unet, UnetShape
from policy_ros.policies.nn.keypoint_encoder import KeypointEncoder, KeypointOptions


class DiffusionNetwork(nn.Module):
    """What an observation says, and what the U-Net makes of it.

    Args:
        config: options.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self._cameras = tuple(config.image_features)
        self._resize = config.resize_shape
        self._has_environment = config.environment_feature is not None
        vectors = [spec.shape[0] for spec in (config.state_feature, config.environment_feature) if spec is not None]
        width = sum(vectors)
        if self._cameras:
            options = _encoder_options(config)
            separate = config.use_separate_rgb_encoder_per_camera
            self.rgb_encoder: nn.Module = (
                nn.ModuleList(KeypointEncoder(options) for _ in self._cameras) if separate else KeypointEncoder(options)
            )
            width += 2 * options.keypoints * len(self._cameras)
        unet = Unet(_unet_shape(config, condition=width * config.n_obs_steps))
        self.unet: nn.Module = _NamedAsCompiled(unet) if config.compile_model else unet

    def condition(self, batch: Mapping[str, Tensor]) -> Tensor:
        """``(B, C)`` of normalised inputs, feature key to ``(B, T, *shape)``."""
        parts = [batch[OBSERVATION_STATE]]
        if self._cameras:
            parts.append(self._keypoints(batch))
        if self._has_environment:
            parts.append(batch[OBSERVATION_ENVIRONMENT_STATE])
        return torch.cat(parts, dim=-1).flatten(1)

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """Noise or clean rows ``(B, horizon, A)`` of noisy ones; timesteps ``(B,)`` int64."""
        out: Tensor = self.unet(noisy, timestep, condition)
        return out

    def _keypoints(self, batch: Mapping[str, Tensor]) -> Tensor:
        """``(B, T, cameras * 2 K)``."""
        images = [batch[key] for key in self._cameras]
        count, steps = images[0].shape[:2]
        # One pass for each encoder, in LeRobot's order: a random crop and the batch's statistics are those of a pass.
        if isinstance(self.rgb_encoder, nn.ModuleList):
            flat = [self._resized(image.flatten(0, 1)) for image in images]
            seen = [encoder(image) for encoder, image in zip(self.rgb_encoder, flat, strict=True)]
            return torch.cat(seen, dim=-1).view(count, steps, -1)
        together = self._resized(torch.stack(images, dim=2).flatten(0, 2))
        keypoints: Tensor = self.rgb_encoder(together)
        return keypoints.view(count, steps, -1)

    def _resized(self, images: Tensor) -> Tensor:
        if self._resize is None or tuple(images.shape[-2:]) == self._resize:
            return images
        return F.interpolate(images, size=self._resize, mode="bilinear", antialias=True, align_corners=False)


class _NamedAsCompiled(nn.Module):
    """Calls a module, whose parameters have the names that they have after ``torch.compile``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self._orig_mod(noisy, timestep, condition)
        return out


def _encoder_options(config: DiffusionConfig) -> KeypointOptions:
    return KeypointOptions(
        image_size=config.seen_size,
        backbone=config.vision_backbone,
        group_norm=config.use_group_norm,
        crop=config.crop,
        crop_is_random=config.crop_is_random,
        keypoints=config.spatial_softmax_num_keypoints,
    )


def _unet_shape(config: DiffusionConfig, *, condition: int) -> UnetShape:
    return UnetShape(
        rows=config.action_dim,
        condition=condition,
        widths=config.down_dims,
        kernel=config.kernel_size,
        groups=config.n_groups,
        timestep=config.diffusion_step_embed_dim,
        scales=config.use_film_scale_modulation,
        recompute=config.gradient_checkpointing,
    )
