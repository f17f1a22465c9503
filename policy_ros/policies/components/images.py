# SPDX-License-Identifier: Apache-2.0
"""Components that turn images into vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from policy_ros.errors import ConfigurationError
from policy_ros.policies.components.component import Component, ComponentOptions
from policy_ros.policies.limits import MAX_IMAGE_SIDE, MAX_WIDTH, check_range
from policy_ros.policies.nn.frozen_batch_norm import FrozenBatchNorm2d
from policy_ros.policies.nn.keypoint_encoder import KeypointEncoder, KeypointOptions, ResNetName
from policy_ros.policies.nn.resnet import MAX_STAGES, NORM_GROUPS, STEM_CHANNELS, NormLayer, ResNet, group_norm

_NORMS: Mapping[str, NormLayer] = {"frozen_batch_norm": FrozenBatchNorm2d, "group_norm": group_norm}


@dataclass(frozen=True, kw_only=True)
class ResNetOptions(ComponentOptions):
    """Of :class:`ResNetImageEncoder`.

    Attributes:
        backbone: which ResNet.
        output_dim: values per image, or per cell of the feature map.
        pool: ``average`` over the feature map, or ``none`` for a token per cell.
        norm: ``frozen_batch_norm`` for pretrained weights, ``group_norm`` for training from scratch.
        width: channels after the first convolution; 64 is the published network.
        stages: how many of its four stages there are; each further one halves the feature map.
        dilate_last_stage: feature maps of 1/16 instead of 1/32 of the image; bottleneck networks (resnet50 and up).
    """

    output_dim: int
    backbone: ResNetName = "resnet18"
    pool: Literal["average", "none"] = "average"
    norm: Literal["frozen_batch_norm", "group_norm"] = "group_norm"
    width: int = STEM_CHANNELS
    stages: int = MAX_STAGES
    dilate_last_stage: bool = False

    def __post_init__(self) -> None:
        check_range("output_dim", self.output_dim, 1, MAX_WIDTH)
        check_range("width", self.width, 1, MAX_WIDTH)
        check_range("stages", self.stages, 1, MAX_STAGES)
        if self.norm == "group_norm" and self.width % NORM_GROUPS:
            raise ConfigurationError(f"width: expected a multiple of {NORM_GROUPS} with group_norm, got {self.width}")
        if self.dilate_last_stage and self.backbone in ("resnet18", "resnet34"):
            raise ConfigurationError(f"dilate_last_stage: expected resnet50, 101 or 152, got {self.backbone}")


class ResNetImageEncoder(Component):
    """Images ``(B, 3, H, W)``, normalised, to ``(B, output_dim)``; without pooling to tokens ``(B, S, output_dim)``."""

    name = "resnet"
    options_class: ClassVar[type[ComponentOptions]] = ResNetOptions

    def __init__(self, options: ResNetOptions) -> None:
        super().__init__(options)
        self._average = options.pool == "average"
        self.backbone = ResNet(
            options.backbone,
            dilate_last_stage=options.dilate_last_stage,
            norm=_NORMS[options.norm],
            stem_channels=options.width,
            stages=options.stages,
        )
        self.out = nn.Linear(self.backbone.out_channels, options.output_dim)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, output_dim)`` or ``(B, S, output_dim)``."""
        cells = self.backbone(images).flatten(2).transpose(1, 2)  # (B, S, C)
        features: Tensor = self.out(cells.mean(dim=1) if self._average else cells)
        return features


@dataclass(frozen=True, kw_only=True)
class KeypointEncoderOptions(ComponentOptions):
    """Of :class:`KeypointImageEncoder`, which gives two values per keypoint.

    Attributes:
        image_size: height and width of the images.
        backbone: which ResNet.
        group_norm: normalise groups of 16 channels instead of the batch; for training from scratch.
        crop: height and width of the part that is looked at; all of it by default.
        crop_is_random: whether training moves the crop about; in evaluation it is the centre.
        keypoints: how many points each image becomes.
    """

    image_size: tuple[int, ...]
    backbone: ResNetName = "resnet18"
    group_norm: bool = True
    crop: tuple[int, ...] | None = None
    crop_is_random: bool = True
    keypoints: int = 32

    def __post_init__(self) -> None:
        _pair("image_size", self.image_size, (MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
        if self.crop is not None:
            _pair("crop", self.crop, _pair("image_size", self.image_size, (MAX_IMAGE_SIDE, MAX_IMAGE_SIDE)))
        check_range("keypoints", self.keypoints, 1, MAX_WIDTH)


class KeypointImageEncoder(Component):
    """Images ``(B, 3, H, W)``, normalised, to ``(B, 2 * keypoints)``."""

    name = "keypoint_encoder"
    options_class: ClassVar[type[ComponentOptions]] = KeypointEncoderOptions

    def __init__(self, options: KeypointEncoderOptions) -> None:
        super().__init__(options)
        self.encoder = KeypointEncoder(
            KeypointOptions(
                image_size=(options.image_size[0], options.image_size[1]),
                backbone=options.backbone,
                group_norm=options.group_norm,
                crop=None if options.crop is None else (options.crop[0], options.crop[1]),
                crop_is_random=options.crop_is_random,
                keypoints=options.keypoints,
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 2 * keypoints)``."""
        features: Tensor = self.encoder(images)
        return features


def _pair(name: str, value: tuple[int, ...], largest: tuple[int, int]) -> tuple[int, int]:
    if len(value) != 2 or not all(1 <= side <= most for side, most in zip(value, largest, strict=True)):
        raise ConfigurationError(f"{name}: expected [height, width] up to {list(largest)}, got {list(value)}")
    return value[0], value[1]
