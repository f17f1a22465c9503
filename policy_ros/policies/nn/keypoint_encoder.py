# SPDX-License-Identifier: Apache-2.0
"""Images to where things are in them: a ResNet whose feature maps become keypoints (Chi et al. 2023, arXiv:2303.04137).

    image ─► crop ─► ResNet ─► 1x1 conv ─► spatial softmax ─► (x, y) of K keypoints ─► linear ─► ReLU

Parameter names are those of the image encoders of LeRobot's diffusion policy and VQ-BeT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from policy_ros.policies.nn.resnet import ResNet

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

_CHANNELS_IN_GROUP = 16
_STRIDE = 32  # of the whole network


@dataclass(frozen=True, kw_only=True)
class KeypointOptions:
    """Of one image encoder.

    Attributes:
        image_size: height and width of the images.
        backbone: which ResNet.
        group_norm: normalise groups of 16 channels instead of the batch; for training from scratch.
        crop: height and width of the part that is looked at, None for all of it.
        crop_is_random: whether training moves the crop about; otherwise, and always in evaluation, it is the centre.
        keypoints: K.
    """

    image_size: tuple[int, int]
    backbone: ResNetName
    group_norm: bool
    crop: tuple[int, int] | None
    crop_is_random: bool
    keypoints: int

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the last feature map."""
        height, width = self.crop or self.image_size
        return -(-height // _STRIDE), -(-width // _STRIDE)


class KeypointEncoder(nn.Module):
    """Images ``(B, 3, H, W)`` to features ``(B, 2 K)``.

    Args:
        options: sizes.
    """

    def __init__(self, options: KeypointOptions) -> None:
        super().__init__()
        self._crop, self._crop_is_random = options.crop, options.crop_is_random
        resnet = ResNet(options.backbone, norm=_groups_of_16 if options.group_norm else nn.BatchNorm2d)
        self.backbone = nn.Sequential(*resnet.children())  # numbered keys
        self.pool = SpatialSoftmax(resnet.out_channels, options.map_size, options.keypoints)
        self.out_channels = 2 * options.keypoints
        self.out = nn.Linear(self.out_channels, self.out_channels)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 2 K)``; in training all images of a call are cropped alike."""
        if self._crop is not None:
            images = (random_crop if self.training and self._crop_is_random else center_crop)(images, self._crop)
        features: Tensor = self.relu(self.out(self.pool(self.backbone(images)).flatten(1)))
        return features


class SpatialSoftmax(nn.Module):
    """Feature maps to keypoints: mean positions under a softmax over each map (Finn et al. 2015, arXiv:1509.06113).

    Args:
        channels: of the feature maps.
        size: their height and width.
        keypoints: K.
    """

    pos_grid: Tensor

    def __init__(self, channels: int, size: tuple[int, int], keypoints: int) -> None:
        super().__init__()
        self.nets = nn.Conv2d(channels, keypoints, kernel_size=1)
        rows, columns = (torch.linspace(-1.0, 1.0, cells, dtype=torch.float64) for cells in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        self.register_buffer("pos_grid", torch.stack((x.flatten(), y.flatten()), dim=1).float())

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, K, 2)``, x and y from -1 to 1."""
        attention = self.nets(features).flatten(2).softmax(dim=-1)  # (B, K, H * W)
        positions: Tensor = attention @ self.pos_grid
        return positions


def center_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle ``size`` of images ``(…, H, W)``; where the margin is odd, rounded as torchvision does."""
    (height, width), (new_height, new_width) = images.shape[-2:], size
    top, left = round((height - new_height) / 2), round((width - new_width) / 2)
    return images[..., top : top + new_height, left : left + new_width]


def random_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """A part of ``size`` of images ``(…, H, W)``, the same in all; drawn as torchvision does."""
    (height, width), (new_height, new_width) = images.shape[-2:], size
    if (height, width) == size:
        return images
    top = int(torch.randint(0, height - new_height + 1, (1,)).item())
    left = int(torch.randint(0, width - new_width + 1, (1,)).item())
    return images[..., top : top + new_height, left : left + new_width]


def _groups_of_16(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // _CHANNELS_IN_GROUP, channels)
