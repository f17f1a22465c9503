# SPDX-License-Identifier: Apache-2.0
"""Options of the policies that look at the world through ResNets and a transformer encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.nn.resnet import MAX_STAGES, NORM_GROUPS, STEM_CHANNELS
from policy_ros.policies.nn.transformer import LayerShape


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(PolicyConfig):
    """Sizes of encoder and decoder; names and defaults are those of LeRobot's ACT, but for ``backbone_*``.

    LeRobot has no such options: a checkpoint in which they have other than their default values is ours alone.

    Attributes:
        vision_backbone: network that turns an image into a feature map.
        pretrained_backbone_weights: where LeRobot's training started from; kept for the record, since a checkpoint
            brings its own weights. Fresh policies start from random weights, so there it must be None.
        replace_final_stride_with_dilation: feature maps of 1/16 instead of 1/32 of the image; resnet50 only.
        backbone_width: channels after the backbone's first convolution; 64 is the published network.
        backbone_stages: how many of its four stages there are; each further one halves the feature map.
        backbone_norm: ``frozen_batch_norm`` is for pretrained weights and learns nothing; ``group_norm`` is for
            training from scratch.
        pre_norm: normalise before instead of after each sub-layer.
    """

    vision_backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    pretrained_backbone_weights: str | None = None
    replace_final_stride_with_dilation: bool = False
    backbone_width: int = STEM_CHANNELS
    backbone_stages: int = MAX_STAGES
    backbone_norm: Literal["frozen_batch_norm", "group_norm"] = "frozen_batch_norm"

    pre_norm: bool = False
    dim_model: int = 512
    n_heads: int = 8
    dim_feedforward: int = 3200
    feedforward_activation: Literal["relu", "gelu", "glu"] = "relu"
    n_encoder_layers: int = 4
    n_decoder_layers: int = 1
    dropout: float = 0.1

    options_of_our_own: ClassVar[frozenset[str]] = frozenset({"backbone_width", "backbone_stages", "backbone_norm"})

    @property
    def layer_shape(self) -> LayerShape:
        """Of all transformer layers."""
        return LayerShape(
            dim=self.dim_model,
            heads=self.n_heads,
            feedforward=self.dim_feedforward,
            dropout=self.dropout,
            activation=self.feedforward_activation,
            pre_norm=self.pre_norm,
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("backbone_stages", self.backbone_stages, 1, MAX_STAGES)
        for name in ("dim_model", "dim_feedforward", "n_heads", "backbone_width"):
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for name in ("n_encoder_layers", "n_decoder_layers"):
            check_range(name, getattr(self, name), 1, MAX_LAYERS)
        check_range("dropout", self.dropout, 0.0, 1.0)
        self._check_sizes()
        self._check_backbone()

    def _check_backbone(self) -> None:
        if self.backbone_norm == "group_norm" and self.backbone_width % NORM_GROUPS:
            raise ConfigurationError(
                f"backbone_width: expected a multiple of {NORM_GROUPS} with group_norm, got {self.backbone_width}"
            )
        if self.replace_final_stride_with_dilation and self.vision_backbone != "resnet50":
            raise ConfigurationError(
                f"replace_final_stride_with_dilation: expected vision_backbone resnet50, got {self.vision_backbone}"
            )

    def _check_sizes(self) -> None:
        if self.dim_model % self.n_heads:
            raise ConfigurationError(f"dim_model: expected a multiple of n_heads={self.n_heads}, got {self.dim_model}")
        if self.image_features and self.dim_model % 4:
            raise ConfigurationError(
                f"dim_model: expected a multiple of 4 (sine and cosine of row and column), got {self.dim_model}"
            )
        if self.feedforward_activation == "glu":
            raise ConfigurationError(
                "feedforward_activation: expected relu or gelu; glu halves the width that the next layer expects, "
                "so no policy with it can be computed"
            )
