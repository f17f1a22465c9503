# SPDX-License-Identifier: Apache-2.0
"""Options of VQ-BeT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, FeatureSpec, FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.limits import MAX_HORIZON, MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.nn.gpt import GPTShape
from policy_ros.policies.nn.keypoint_encoder import KeypointOptions, ResNetName

CODE_LAYERS = 2  # codes of a chunk: a coarse one and what it leaves over

_TOKENS = 3  # of each observation: image, state, and the question what to do
_WHOLE_CHUNK = 0
_COLDEST = 1e-6


def _modes() -> dict[FeatureType, NormalizationMode]:
    return {
        FeatureType.VISUAL: NormalizationMode.IDENTITY,
        FeatureType.STATE: NormalizationMode.MIN_MAX,
        FeatureType.ACTION: NormalizationMode.MIN_MAX,
    }


@dataclass(frozen=True, kw_only=True)
class VQBeTConfig(PolicyConfig):
    """Options of VQ-BeT; names and defaults are LeRobot's, but for ``n_action_steps``, which it does not have.

    Attributes:
        n_action_steps: rows that ``select_action`` executes before it asks again; all, unless set.
        n_action_pred_token: p, questions about the current chunk and the p - 1 after it, each one row later. They are
            trained on; only the current chunk is executed.
        action_chunk_size: H, rows of a chunk.
        crop_shape: height and width of the part of the image that is looked at, None for all of it.
        crop_is_random: whether training moves the crop about.
        pretrained_backbone_weights: where LeRobot's training started from; for the record.
        use_group_norm: normalise groups of channels instead of the batch.
        spatial_softmax_num_keypoints: keypoints that an image becomes.
        n_vqvae_training_steps: steps of the first phase of the training, which learns codes of chunks. In the first 60
            or so, vectors of codes that nothing uses are far away from all others.
        vqvae_n_embed: C, codes in each of the two layers.
        vqvae_embedding_dim: length of the vectors that codes stand for.
        vqvae_enc_hidden_dim: width of their encoder and decoder.
        gpt_block_size: most tokens of a sequence.
        offset_loss_weight, primary_code_loss_weight, secondary_code_loss_weight: of the parts of the loss.
        bet_softmax_temperature: of the draw of codes; the lower, the more often the likeliest.
        sequentially_select: draw the second code knowing the first.
        optimizer_lr, …, scheduler_warmup_steps: defaults for training; those named ``vqvae`` are for the codes.
    """

    uses_noise: ClassVar[bool] = True
    scheduler_name: ClassVar[str] = "cosine"

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_modes)
    n_obs_steps: int = 5
    n_action_steps: int = _WHOLE_CHUNK
    n_action_pred_token: int = 3
    action_chunk_size: int = 5

    vision_backbone: ResNetName = "resnet18"
    crop_shape: tuple[int, ...] | None = (84, 84)
    crop_is_random: bool = True
    pretrained_backbone_weights: str | None = None
    use_group_norm: bool = False
    spatial_softmax_num_keypoints: int = 32

    n_vqvae_training_steps: int = 20000
    vqvae_n_embed: int = 16
    vqvae_embedding_dim: int = 256
    vqvae_enc_hidden_dim: int = 128

    gpt_block_size: int = 500
    gpt_input_dim: int = 512
    gpt_output_dim: int = 512
    gpt_n_layer: int = 8
    gpt_n_head: int = 8
    gpt_hidden_dim: int = 512
    dropout: float = 0.1

    offset_loss_weight: float = 10000.0
    primary_code_loss_weight: float = 5.0
    secondary_code_loss_weight: float = 0.5
    bet_softmax_temperature: float = 0.1
    sequentially_select: bool = False

    optimizer_lr: float = 1e-4
    optimizer_betas: tuple[float, ...] = (0.95, 0.999)
    optimizer_eps: float = 1e-8
    optimizer_weight_decay: float = 1e-6
    optimizer_vqvae_lr: float = 1e-3
    optimizer_vqvae_weight_decay: float = 1e-4
    scheduler_warmup_steps: int = 500

    def __post_init__(self) -> None:
        if self.n_action_steps == _WHOLE_CHUNK:
            object.__setattr__(self, "n_action_steps", self.action_chunk_size)
        super().__post_init__()
        self._check_sizes()
        self._check_inputs()
        self._check_tokens()

    @property
    def chunk_size(self) -> int:
        """H."""
        return self.action_chunk_size

    @property
    def target_rows(self) -> range:
        """A chunk for each question: from the oldest observation to the last row of the last chunk."""
        return range(1 - self.n_obs_steps, self.n_action_pred_token + self.action_chunk_size - 1)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number for each code of the chunk."""
        return (CODE_LAYERS,)

    @property
    def denoises(self) -> bool:
        """No: noise only decides between codes."""
        return False

    @property
    def pretraining_steps(self) -> int:
        """Of the first phase."""
        return self.n_vqvae_training_steps

    @property
    def observed_features(self) -> dict[str, FeatureSpec]:
        """The image and the state; the network has no eyes for anything else."""
        features = super().observed_features
        return {key: spec for key, spec in features.items() if key != OBSERVATION_ENVIRONMENT_STATE}

    @property
    def questions(self) -> int:
        """Chunks that are predicted in training: one for each observation and those in the future."""
        return self.n_obs_steps + self.n_action_pred_token - 1

    @property
    def tokens(self) -> int:
        """Length of the sequence that the transformer sees."""
        return _TOKENS * self.n_obs_steps + self.n_action_pred_token - 1

    @property
    def gpt_shape(self) -> GPTShape:
        """Of the transformer."""
        return GPTShape(
            max_tokens=self.gpt_block_size,
            dim_in=self.gpt_input_dim,
            dim=self.gpt_hidden_dim,
            dim_out=self.gpt_output_dim,
            layers=self.gpt_n_layer,
            heads=self.gpt_n_head,
            dropout=self.dropout,
        )

    @property
    def image_encoder(self) -> KeypointOptions:
        """Of the image encoder."""
        (spec,) = self.image_features.values()
        return KeypointOptions(
            image_size=(spec.shape[1], spec.shape[2]),
            backbone=self.vision_backbone,
            group_norm=self.use_group_norm,
            crop=None if self.crop_shape is None else (self.crop_shape[0], self.crop_shape[1]),
            crop_is_random=self.crop_is_random,
            keypoints=self.spatial_softmax_num_keypoints,
        )

    def to_dict(self) -> dict[str, Any]:
        """Without ``n_action_steps`` where all rows are executed: LeRobot always does, and knows no such option."""
        values = super().to_dict()
        if self.n_action_steps == self.action_chunk_size:
            del values["n_action_steps"]
        return values

    def _check_sizes(self) -> None:
        for name in ("vqvae_n_embed", "vqvae_embedding_dim", "vqvae_enc_hidden_dim", "spatial_softmax_num_keypoints"):
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for name in ("gpt_input_dim", "gpt_output_dim", "gpt_hidden_dim", "gpt_n_head"):
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for name in ("n_action_pred_token", "gpt_block_size"):
            check_range(name, getattr(self, name), 1, MAX_HORIZON)
        check_range("n_vqvae_training_steps", self.n_vqvae_training_steps, 0, float("inf"))
        check_range("gpt_n_layer", self.gpt_n_layer, 1, MAX_LAYERS)
        check_range("dropout", self.dropout, 0.0, 1.0)
        check_range("bet_softmax_temperature", self.bet_softmax_temperature, _COLDEST, float("inf"))
        if self.gpt_hidden_dim % self.gpt_n_head:
            raise ConfigurationError(
                f"gpt_hidden_dim: expected a multiple of gpt_n_head={self.gpt_n_head}, got {self.gpt_hidden_dim}"
            )

    def _check_inputs(self) -> None:
        images = self.image_features
        if len(images) != 1 or self.state_feature is None:
            raise ConfigurationError(
                "input_features: expected observation.state and exactly one image, which is what LeRobot's VQ-BeT "
                f"looks at, got {', '.join(self.input_features)} (for training: cameras names one)"
            )
        ((key, spec),) = images.items()
        size, crop = spec.shape[1:], self.crop_shape
        if crop is not None and not (len(crop) == 2 and 1 <= crop[0] <= size[0] and 1 <= crop[1] <= size[1]):
            raise ConfigurationError(
                f"crop_shape: expected [height, width] within '{key}' of {list(size)}, or null, got {list(crop)}"
            )
        if self.use_group_norm and self.pretrained_backbone_weights is not None:
            raise ConfigurationError(
                "use_group_norm: expected false with pretrained_backbone_weights, which are of batch normalisation"
            )

    def _check_tokens(self) -> None:
        if self.tokens > self.gpt_block_size:
            raise ConfigurationError(
                f"gpt_block_size: expected at least the {self.tokens} tokens of n_obs_steps={self.n_obs_steps} and "
                f"n_action_pred_token={self.n_action_pred_token}, got {self.gpt_block_size}"
            )
        # LeRobot counts one token for each input, used or not, and so looks past the end when there are more than two.
        inputs = len(self.input_features)
        last = (self.n_obs_steps - 1) * (inputs + 1) + inputs
        if last >= self.tokens:
            raise ConfigurationError(
                f"input_features: expected observation.state and an image alone, got {', '.join(self.input_features)}; "
                "VQ-BeT looks for its answers behind a token for each of them, and has tokens for those two"
            )
