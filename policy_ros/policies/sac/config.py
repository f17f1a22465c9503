# SPDX-License-Identifier: Apache-2.0
"""Options of the Gaussian actor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.limits import MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.nn.strided_conv import feature_map_size

_IMAGE_PREFIX = "observation.image"
_LR = "optimizer_lr"
_LEAST_STD_MAX = 1e-12  # without any spread the loss is infinite

Activation = Literal["SiLU", "ReLU", "LeakyReLU", "ELU", "GELU", "Mish", "Tanh", "Sigmoid", "Softplus", "Identity"]


def _usual_modes() -> dict[FeatureType, NormalizationMode]:
    vectors = (FeatureType.STATE, FeatureType.ENV, FeatureType.ACTION)
    return {
        FeatureType.VISUAL: NormalizationMode.MEAN_STD,
        **dict.fromkeys(vectors, NormalizationMode.MIN_MAX),
    }


@dataclass(frozen=True)
class ActorNetwork:
    """Layers between the observation and the Gaussian.

    Attributes:
        hidden_dims: their widths.
        activate_final: normalise and activate after the last one, too.
    """

    hidden_dims: tuple[int, ...] = (256, 256)
    activate_final: bool = True


@dataclass(frozen=True)
class CriticNetwork:
    """Layers between the observation and the values of discrete actions.

    Attributes:
        hidden_dims, activate_final: as for the actor.
        final_activation: after the last one; None for that of the others.
    """

    hidden_dims: tuple[int, ...] = (256, 256)
    activate_final: bool = True
    final_activation: Activation | None = None


@dataclass(frozen=True)
class GaussianHead:
    """The distribution of actions.

    Attributes:
        use_tanh_squash: kept for the record: LeRobot squashes whatever it says, and so do we.
        std_min, std_max: bounds of what LeRobot calls the standard deviation, and uses as the variance.
        init_final: fresh weights are drawn from minus this to this.
    """

    use_tanh_squash: bool = True
    std_min: float = 1e-5
    std_max: float = 10.0
    init_final: float = 0.05


@dataclass(frozen=True, kw_only=True)
class GaussianActorConfig(PolicyConfig):
    """Options of the Gaussian actor; names and defaults are LeRobot's, but for ``deterministic`` and ``optimizer_lr``.

    Attributes:
        vision_encoder_name: must be None: a small convolutional network that comes with the checkpoint.
        freeze_vision_encoder: its convolutions are not trained.
        image_encoder_hidden_dim: their width.
        image_embedding_pooling_dim: numbers that each channel of their output is pooled to.
        shared_encoder: actor and critic look through one encoder.
        latent_dim: numbers that each kind of observation is encoded to.
        num_discrete_actions: values of a discrete action, such as that of a gripper, which follows the others as its
            index; None for none.
        actor_network_kwargs, policy_kwargs, discrete_critic_network_kwargs: sizes of the networks.
        deterministic: answer with the middle of the distribution instead of drawing from it.
        optimizer_lr: default for training. Kept in ``training.json`` only.
    """

    options_of_our_own: ClassVar[frozenset[str]] = frozenset({"n_action_steps", "deterministic"})
    # Of training with critics, in LeRobot 0.6 (first line) and before it; nothing of it bears on acting.
    further_bookkeeping: ClassVar[frozenset[str]] = frozenset(
        {"dataset_stats", "storage_device", "online_steps", "online_buffer_capacity", "offline_buffer_capacity"}
        | {"async_prefetch", "online_step_before_learning", "actor_learner_config", "concurrency"}
        | {"state_encoder_hidden_dim"}
        | {"online_env_seed", "policy_update_freq", "discount", "temperature_init", "num_critics"}
        | {"num_subsample_critics", "critic_lr", "actor_lr", "temperature_lr", "critic_target_update_weight"}
        | {"utd_ratio", "target_entropy", "use_backup_entropy", "grad_clip_norm", "critic_network_kwargs"}
        | {"use_torch_compile"}
    )
    optimizer_weight_decay: ClassVar[float] = 0.0

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_usual_modes)

    vision_encoder_name: str | None = None
    freeze_vision_encoder: bool = True
    image_encoder_hidden_dim: int = 32
    image_embedding_pooling_dim: int = 8
    shared_encoder: bool = True
    latent_dim: int = 256

    num_discrete_actions: int | None = None
    actor_network_kwargs: ActorNetwork = ActorNetwork()
    policy_kwargs: GaussianHead = GaussianHead()
    discrete_critic_network_kwargs: CriticNetwork = CriticNetwork()

    deterministic: bool = False
    optimizer_lr: float = 3e-4

    @property
    def chunk_size(self) -> int:
        """H: it answers with one action."""
        return 1

    @property
    def continuous_dim(self) -> int:
        """Values that come from the Gaussian."""
        return super().action_dim

    @property
    def action_dim(self) -> int:
        """A, with the index of the discrete action where there is one."""
        return self.continuous_dim + (self.num_discrete_actions is not None)

    @property
    def uses_noise(self) -> bool:  # type: ignore[override]  # decided by an option
        """Whether it draws its action."""
        return not self.deterministic

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One draw for each continuous value."""
        return 1, self.continuous_dim

    @property
    def denoises(self) -> bool:
        """Drawing from the answer is no denoising."""
        return False

    @property
    def unmet_in_recordings(self) -> str:  # type: ignore[override]  # decided by an option
        """The discrete action is chosen by value, which takes rewards to learn."""
        if self.num_discrete_actions is None:
            return ""
        return (
            "rewards, by which it learns the values of its discrete actions; train with num_discrete_actions null, or "
            "with LeRobot, whose checkpoints load here"
        )

    @property
    def unfit_for_robots(self) -> str:
        """A discrete action is an index."""
        if self.num_discrete_actions is None:
            return ""
        return (
            f"its last value is the index of one of {self.num_discrete_actions} discrete actions "
            "(num_discrete_actions), no position of a joint"
        )

    def to_dict(self) -> dict[str, Any]:
        """Without the learning rate, which LeRobot keeps elsewhere and would refuse here."""
        values = super().to_dict()
        del values[_LR]
        return values

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("n_obs_steps (the Gaussian actor looks at one observation)", self.n_obs_steps, 1, 1)
        for name in ("image_encoder_hidden_dim", "image_embedding_pooling_dim", "latent_dim"):
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        if self.num_discrete_actions is not None:
            check_range("num_discrete_actions", self.num_discrete_actions, 1, MAX_WIDTH)
        for name in ("actor_network_kwargs", "discrete_critic_network_kwargs"):
            widths = getattr(self, name).hidden_dims
            check_range(f"{name}.hidden_dims (number of layers)", len(widths), 1, MAX_LAYERS)
            for width in widths:
                check_range(f"{name}.hidden_dims", width, 1, MAX_WIDTH)
        head = self.policy_kwargs
        check_range("policy_kwargs.std_max", head.std_max, _LEAST_STD_MAX, math.inf)
        check_range("policy_kwargs.std_min", head.std_min, 0.0, head.std_max)
        check_range("policy_kwargs.init_final", head.init_final, 0.0, math.inf)
        self._check_inputs()

    def _check_inputs(self) -> None:
        if self.vision_encoder_name is not None:
            raise ConfigurationError(
                f"vision_encoder_name: expected null, got {self.vision_encoder_name!r:.80}: that network is made by "
                "code that has to be downloaded; train with the small encoder, which comes with the checkpoint"
            )
        if not self.image_features and self.state_feature is None:
            raise ConfigurationError(
                f"input_features: expected observation.state or an image, got {', '.join(self.input_features)}"
            )
        sizes = {spec.shape for spec in self.image_features.values()}
        if len(sizes) > 1:
            raise ConfigurationError(
                f"input_features: expected images of one size, got {', '.join(map(str, sorted(sizes)))}"
            )
        for key, spec in self.image_features.items():
            if not key.startswith(_IMAGE_PREFIX):
                raise ConfigurationError(f"input_features: expected images named {_IMAGE_PREFIX}…, got '{key}'")
            feature_map_size(spec.shape[1], spec.shape[2])
