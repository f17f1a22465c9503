# SPDX-License-Identifier: Apache-2.0
"""Options of the diffusion policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.diffusion.unet import FINAL_GROUPS
from policy_ros.policies.limits import (
    MAX_DRAWN_VALUES,
    MAX_HORIZON,
    MAX_IMAGE_SIDE,
    MAX_LAYERS,
    MAX_OBS_STEPS,
    MAX_OBSERVATION_VALUES,
    MAX_WIDTH,
    check_range,
)
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.nn.keypoint_encoder import ResNetName
from policy_ros.policies.nn.noise_schedule import BetaSchedule

_MAX_TIMESTEPS = 10000
_MAX_KERNEL = 255
_DDIM_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
_SCHEDULES_WITHOUT_ENDS = ("squaredcos_cap_v2", "laplace")


def _normalization() -> dict[FeatureType, NormalizationMode]:
    return {
        FeatureType.VISUAL: NormalizationMode.MEAN_STD,
        FeatureType.STATE: NormalizationMode.MIN_MAX,
        FeatureType.ACTION: NormalizationMode.MIN_MAX,
    }


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig(PolicyConfig):
    """Options of the diffusion policy; names are LeRobot's, and so are defaults but for fresh weights' image encoder.

    LeRobot starts from downloaded ImageNet weights, with batch normalisation. Nothing is downloaded here: the defaults
    are random weights and group normalisation, as published.

    Attributes:
        horizon: rows that are denoised together. The first belongs to the oldest observation, so that the first
            ``n_obs_steps - 1`` lie in the past and the rest is the chunk.
        drop_n_last_frames: frames at an episode's end that LeRobot's training leaves out; kept for the record.
        resize_shape: height and width that images are brought to first, None for as they are.
        crop_ratio: with ``resize_shape``, which part of a side the crop has; 1 for no crop.
        crop_shape: height and width of the crop; with ``resize_shape`` the ratio says it, whatever stands here. What
            has no more than 32 pixels a side becomes a single cell, in which nothing has a position.
        crop_is_random: whether training moves the crop about; otherwise, and always in evaluation, it is the centre.
        pretrained_backbone_weights: where LeRobot's training started from; kept for the record.
        use_group_norm: normalise groups of channels in the image encoder; otherwise the batch.
        use_separate_rgb_encoder_per_camera: otherwise all cameras share one.
        down_dims: channels of the U-Net's stages.
        n_groups: of the U-Net's normalisations.
        use_film_scale_modulation: the observation scales channels, beside shifting them.
        gradient_checkpointing: training computes activations of the U-Net twice instead of keeping them.
        noise_scheduler_type: DDPM adds noise in every step, DDIM does not and needs fewer steps.
        num_train_timesteps: T, levels of noise.
        beta_schedule: how noise grows over them, from ``beta_start`` to ``beta_end`` where the schedule has ends.
        prediction_type: what the network says of a noisy sample: its noise (epsilon) or what is behind it (sample).
        clip_sample: whether estimates of the clean sample are clipped to ``clip_sample_range``.
        num_inference_steps: of denoising; None for all T.
        compile_model: LeRobot then saves the U-Net under other names, which are read and written here; nothing is
            compiled.
        do_mask_loss_for_padding: whether rows past the episode's end are left out of the loss.
        optimizer_lr, optimizer_betas, optimizer_eps, optimizer_weight_decay, scheduler_name, scheduler_warmup_steps:
            defaults for training.
    """

    supports_guidance: ClassVar[bool] = True
    uses_noise: ClassVar[bool] = True

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_normalization)
    n_obs_steps: int = 2
    horizon: int = 64
    n_action_steps: int = 32
    drop_n_last_frames: int = 7

    vision_backbone: ResNetName = "resnet18"
    resize_shape: tuple[int, ...] | None = None
    crop_ratio: float = 1.0
    crop_shape: tuple[int, ...] | None = None
    crop_is_random: bool = True
    pretrained_backbone_weights: str | None = None
    use_group_norm: bool = True
    spatial_softmax_num_keypoints: int = 32
    use_separate_rgb_encoder_per_camera: bool = True

    down_dims: tuple[int, ...] = (512, 1024, 2048)
    kernel_size: int = 5
    n_groups: int = 8
    diffusion_step_embed_dim: int = 128
    use_film_scale_modulation: bool = True
    gradient_checkpointing: bool = False

    noise_scheduler_type: Literal["DDPM", "DDIM"] = "DDPM"
    num_train_timesteps: int = 100
    beta_schedule: BetaSchedule = "squaredcos_cap_v2"
    beta_start: float = 0.0001
    beta_end: float = 0.02
    prediction_type: Literal["epsilon", "sample"] = "epsilon"
    clip_sample: bool = True
    clip_sample_range: float = 1.0
    num_inference_steps: int | None = None

    compile_model: bool = False
    compile_mode: str = "reduce-overhead"

    do_mask_loss_for_padding: bool = False

    optimizer_lr: float = 1e-4
    optimizer_betas: tuple[float, ...] = (0.95, 0.999)
    optimizer_eps: float = 1e-8
    optimizer_weight_decay: float = 1e-6
    scheduler_name: str = "cosine"
    scheduler_warmup_steps: int = 500

    @property
    def chunk_size(self) -> int:
        """H, the rows from the newest observation on: all of the horizon but those in the past."""
        return self.horizon - self.n_obs_steps + 1

    @property
    def target_rows(self) -> range:
        """The whole horizon."""
        return range(1 - self.n_obs_steps, self.chunk_size)

    @property
    def denoising_steps(self) -> int:
        """Of one prediction."""
        return self.num_train_timesteps if self.num_inference_steps is None else self.num_inference_steps

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """``(horizon, A)``; with DDPM ``(steps, horizon, A)``: what it starts from, then what each step adds."""
        rows = (self.horizon, self.action_dim)
        return (self.denoising_steps, *rows) if self.noise_scheduler_type == "DDPM" else rows

    @property
    def speed_advice(self) -> str:
        """Fewer steps, which only DDIM bears well."""
        ddim = "" if self.noise_scheduler_type == "DDIM" else " with noise_scheduler_type DDIM"
        return (
            f"it denoises in {self.denoising_steps} steps: set num_inference_steps in the checkpoint's config.json to "
            f"fewer{ddim}, or use a GPU"
        )

    @property
    def seen_size(self) -> tuple[int, int]:
        """Height and width of images after resizing, before the crop."""
        if self.resize_shape is not None:
            return self.resize_shape[0], self.resize_shape[1]
        _, height, width = next(iter(self.image_features.values())).shape
        return height, width

    @property
    def crop(self) -> tuple[int, int] | None:
        """Height and width of the crop in force."""
        if self.resize_shape is not None:
            if self.crop_ratio == 1.0:
                return None
            return int(self.resize_shape[0] * self.crop_ratio), int(self.resize_shape[1] * self.crop_ratio)
        return None if self.crop_shape is None else (self.crop_shape[0], self.crop_shape[1])

    def __post_init__(self) -> None:
        check_range("n_obs_steps", self.n_obs_steps, 1, MAX_OBS_STEPS)
        check_range("horizon", self.horizon, self.n_obs_steps, MAX_HORIZON)
        super().__post_init__()
        self._check_inputs()
        self._check_images()
        self._check_unet()
        self._check_noise()
        if len(self.optimizer_betas) != 2:
            raise ConfigurationError(f"optimizer_betas: expected two numbers, got {list(self.optimizer_betas)}")

    def _check_inputs(self) -> None:
        if self.state_feature is None:
            raise ConfigurationError(
                f"input_features: expected observation.state of type STATE, got {', '.join(self.input_features)}"
            )
        if not self.image_features and self.environment_feature is None:
            raise ConfigurationError(
                "input_features: expected at least one image or observation.environment_state, "
                f"got {', '.join(self.input_features)}"
            )
        shapes = {key: spec.shape for key, spec in self.image_features.items()}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
            raise ConfigurationError(
                f"input_features: expected images of one size, got {listed}; resize them (for training: image_size)"
            )

    def _check_images(self) -> None:
        for name in ("resize_shape", "crop_shape"):
            size = getattr(self, name)
            if size is not None and (len(size) != 2 or not all(1 <= side <= MAX_IMAGE_SIDE for side in size)):
                raise ConfigurationError(
                    f"{name}: expected height and width from 1 to {MAX_IMAGE_SIDE}, got {list(size)}"
                )
        if self.resize_shape is not None:
            values = 3 * math.prod(self.resize_shape) * len(self.image_features) * self.n_obs_steps
            check_range("values in resized images (resize_shape, n_obs_steps)", values, 0, MAX_OBSERVATION_VALUES)
        if not 0.0 < self.crop_ratio <= 1.0:
            raise ConfigurationError(f"crop_ratio: expected more than 0 and at most 1, got {self.crop_ratio}")
        check_range("spatial_softmax_num_keypoints", self.spatial_softmax_num_keypoints, 1, MAX_WIDTH)
        if self.image_features and self.crop is not None:
            size = self.seen_size
            if not all(1 <= crop <= side for crop, side in zip(self.crop, size, strict=True)):
                raise ConfigurationError(f"crop: expected it to fit into images of {size}, got {self.crop}")

    def _check_unet(self) -> None:
        check_range("number of down_dims", len(self.down_dims), 1, MAX_LAYERS)
        for width in self.down_dims:
            check_range("down_dims", width, 1, MAX_WIDTH)
            if self.n_groups < 1 or width % self.n_groups:
                raise ConfigurationError(f"down_dims: expected multiples of n_groups={self.n_groups}, got {width}")
        if self.down_dims[0] % FINAL_GROUPS:
            raise ConfigurationError(
                f"down_dims: expected the first to be a multiple of {FINAL_GROUPS}, got {self.down_dims[0]}"
            )
        check_range("kernel_size", self.kernel_size, 1, _MAX_KERNEL)
        if self.kernel_size % 2 == 0:
            raise ConfigurationError(f"kernel_size: expected an odd number, got {self.kernel_size}")
        check_range("diffusion_step_embed_dim", self.diffusion_step_embed_dim, 4, MAX_WIDTH)
        if self.diffusion_step_embed_dim % 2:
            raise ConfigurationError(
                "diffusion_step_embed_dim: expected an even number (sines and cosines), "
                f"got {self.diffusion_step_embed_dim}"
            )
        multiple = 2 ** len(self.down_dims)
        if self.horizon % multiple:
            raise ConfigurationError(
                f"horizon: expected a multiple of {multiple} with {len(self.down_dims)} down_dims, got {self.horizon}"
            )

    def _check_noise(self) -> None:
        check_range("num_train_timesteps", self.num_train_timesteps, 1, _MAX_TIMESTEPS)
        check_range("num_inference_steps", self.denoising_steps, 1, self.num_train_timesteps)
        drawn = math.prod(self.noise_shape)
        check_range("values of noise (num_inference_steps, horizon, action)", drawn, 1, MAX_DRAWN_VALUES)
        if self.noise_scheduler_type == "DDIM" and self.beta_schedule not in _DDIM_SCHEDULES:
            raise ConfigurationError(
                f"beta_schedule: expected one of {', '.join(_DDIM_SCHEDULES)} with DDIM, got {self.beta_schedule}"
            )
        if self.beta_schedule not in _SCHEDULES_WITHOUT_ENDS and not 0.0 < self.beta_start <= self.beta_end < 1.0:
            raise ConfigurationError(
                f"beta_start and beta_end: expected 0 < start <= end < 1, got {self.beta_start} and {self.beta_end}"
            )
        if not self.clip_sample_range > 0.0:
            raise ConfigurationError(f"clip_sample_range: expected more than 0, got {self.clip_sample_range}")
