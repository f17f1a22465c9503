# SPDX-License-Identifier: Apache-2.0
"""ResNet feature extractors (He et al. 2016, arXiv:1512.03385), without the classifier.

Parameter names are torchvision's, so that its weights and every checkpoint built on them load as they are. The
children are in the order of computation: ``nn.Sequential(*resnet.children())`` is the same network with the numbered
keys that some checkpoints use.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from policy_ros.policies.nn.frozen_batch_norm import FrozenBatchNorm2d

NormLayer = Callable[[int], nn.Module]

STEM_CHANNELS = 64
MAX_STAGES = 4
NORM_GROUPS = 8  # of group normalisation


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, channels: int, width: int, *, stride: int, dilation: int, norm: NormLayer) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, width, stride=stride, dilation=dilation)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, stride=1, dilation=dilation)
        self.bn2 = norm(width)
        self.downsample = _projection(channels, width * self.expansion, stride=stride, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, width, H / stride, W / stride)``."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + skip)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a skip connection (ResNet-50); the 3x3 strides, as in torchvision."""

    expansion = 4

    def __init__(self, channels: int, width: int, *, stride: int, dilation: int, norm: NormLayer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride=stride, dilation=dilation)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, kernel_size=1, bias=False)
        self.bn3 = norm(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels, width * self.expansion, stride=stride, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to ``(B, 4 * width, H / stride, W / stride)``."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)) + skip)
        return out


RESNETS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalisation that learns and does not depend on the batch, for backbones that are trained from scratch."""
    return nn.GroupNorm(NORM_GROUPS, channels)


class ResNet(nn.Module):
    """Images to the last stage's feature map: 1/32 of the image's size, 1/16 with dilation or three stages.

    Args:
        name: one of :data:`RESNETS`.
        dilate_last_stage: keep the last stage at 1/16 by dilating instead of striding; bottleneck networks only.
        norm: makes the normalisation layer for a number of channels.
        stem_channels: after the first convolution; the stages have 1, 2, 4 and 8 times as many (before expansion).
        stages: how many of the four there are.
    """

    def __init__(
        self,
        name: str,
        *,
        dilate_last_stage: bool = False,
        norm: NormLayer = FrozenBatchNorm2d,
        stem_channels: int = STEM_CHANNELS,
        stages: int = MAX_STAGES,
    ) -> None:
        super().__init__()
        block, depths = RESNETS[name]
        if dilate_last_stage and block is BasicBlock:
            raise ValueError(f"{name} has no dilated form; only bottleneck networks (resnet50) do")
        self.conv1 = nn.Conv2d(3, stem_channels, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = stem_channels
        for stage, depth in enumerate(depths[:stages]):
            width = stem_channels * 2**stage
            dilated = dilate_last_stage and stage == 3
            stride = 1 if stage == 0 or dilated else 2
            blocks = [block(channels, width, stride=stride, dilation=1, norm=norm)]
            channels = width * block.expansion
            # The first block of a dilated stage still sees undilated input, hence its dilation of 1.
            dilation = 2 if dilated else 1
            blocks += [block(channels, width, stride=1, dilation=dilation, norm=norm) for _ in range(1, depth)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, out_channels, H', W')``, with four stages ``ceil(H / 32), ceil(W / 32)``."""
        for layer in self.children():
            images = layer(images)
        return images


def _conv3x3(channels: int, width: int, *, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _projection(channels: int, out_channels: int, *, stride: int, norm: NormLayer) -> nn.Sequential | None:
    """Brings the skip connection to the block's output shape; None where it already has it."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size=1, stride=stride, bias=False), norm(out_channels)
    )
