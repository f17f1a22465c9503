# SPDX-License-Identifier: Apache-2.0
"""Options of TD-MPC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from policy_ros.data import FeatureType
from policy_ros.errors import ConfigurationError
from policy_ros.policies.config import PolicyConfig
from policy_ros.policies.limits import MAX_DRAWN_VALUES, MAX_HORIZON, MAX_LAYERS, MAX_WIDTH, check_range
from policy_ros.policies.modes import NormalizationMode
from policy_ros.policies.nn.strided_conv import feature_map_size

_MAX_SAMPLES = 1 << 20
_MAX_ITERATIONS = 1000
_WIDTHS = ("image_encoder_hidden_dim", "state_encoder_hidden_dim", "latent_dim", "mlp_dim")
_SHARES = ("discount", "gaussian_mean_momentum", "expectile_weight", "temporal_decay_coeff", "target_model_momentum")
_FROM_ZERO = (
    *("uncertainty_regularizer_coeff", "elite_weighting_temperature", "reward_coeff", "value_coeff"),
    *("consistency_coeff", "advantage_scaling", "pi_coeff", "min_std", "max_std"),
)


def _action_in_range() -> dict[FeatureType, NormalizationMode]:
    kinds = (FeatureType.VISUAL, FeatureType.STATE, FeatureType.ENV)
    return {
        **dict.fromkeys(kinds, NormalizationMode.IDENTITY),
        FeatureType.ACTION: NormalizationMode.MIN_MAX,
    }


@dataclass(frozen=True, kw_only=True)
class TDMPCConfig(PolicyConfig):
    """Options of TD-MPC; names and defaults are LeRobot's.

    Attributes:
        horizon: steps that the planner looks ahead, and that training rolls the world model out for.
        n_action_repeats: how often the first action of an answer is repeated; 1 executes the plan's own rows.
        n_action_steps: rows of the plan that are executed; more than 1 needs ``use_mpc`` and no repetitions.
        use_mpc: plan in the world model; otherwise the learned policy answers at once, with one action.
        image_encoder_hidden_dim, state_encoder_hidden_dim, latent_dim, mlp_dim: widths.
        q_ensemble_size: estimators of the value of an action; how far they disagree is the model's uncertainty.
        discount: of rewards, a step.
        cem_iterations: of the planner.
        max_std, min_std: bounds of the spread that the planner draws actions with, network's units.
        n_gaussian_samples: trajectories that the planner draws in each iteration.
        n_pi_samples: trajectories of the learned policy that compete with them.
        uncertainty_regularizer_coeff: what disagreement costs a trajectory.
        n_elites: the best trajectories, which the next iteration draws around.
        elite_weighting_temperature: how much more the better ones of them count.
        gaussian_mean_momentum: share of its mean that an iteration keeps.
        max_random_shift_ratio: in training images are shifted at random by up to this share of their side.
        reward_coeff, value_coeff, consistency_coeff, pi_coeff: weights of the parts of the loss.
        expectile_weight: above 0.5 the learned value is that of the better actions.
        advantage_scaling: how much more the learned policy follows actions that were better than expected.
        temporal_decay_coeff: of the loss, a step ahead.
        target_model_momentum: share of its weights that the target network keeps in a step of training.
        optimizer_lr: default for training.
    """

    unmet_in_recordings: ClassVar[str] = (
        "a reward for each step and the observations of the next steps; train it through "
        "policy_ros.training.run.train with data that have 'next.reward', or with LeRobot, then load it"
    )
    optimizer_weight_decay: ClassVar[float] = 0.0  # as LeRobot trains it

    normalization_mapping: Mapping[FeatureType, NormalizationMode] = field(default_factory=_action_in_range)
    n_action_repeats: int = 2
    horizon: int = 5

    image_encoder_hidden_dim: int = 32
    state_encoder_hidden_dim: int = 256
    latent_dim: int = 50
    q_ensemble_size: int = 5
    mlp_dim: int = 512
    discount: float = 0.9

    use_mpc: bool = True
    cem_iterations: int = 6
    max_std: float = 2.0
    min_std: float = 0.05
    n_gaussian_samples: int = 512
    n_pi_samples: int = 51
    uncertainty_regularizer_coeff: float = 1.0
    n_elites: int = 50
    elite_weighting_temperature: float = 0.5
    gaussian_mean_momentum: float = 0.1

    max_random_shift_ratio: float = 0.0476
    reward_coeff: float = 0.5
    expectile_weight: float = 0.9
    value_coeff: float = 0.1
    consistency_coeff: float = 20.0
    advantage_scaling: float = 3.0
    pi_coeff: float = 0.5
    temporal_decay_coeff: float = 0.5
    target_model_momentum: float = 0.995

    optimizer_lr: float = 3e-4

    @property
    def chunk_size(self) -> int:
        """H: the repetitions of the first action, or else the rows of the plan, or else one."""
        if self.n_action_repeats > 1:
            return self.n_action_repeats
        return self.horizon if self.use_mpc else 1

    @property
    def execution_rows(self) -> int:
        """All repetitions, or ``n_action_steps`` rows of the plan."""
        return max(self.n_action_repeats, self.n_action_steps)

    @property
    def uses_noise(self) -> bool:  # type: ignore[override]  # decided by an option
        """Whether it plans, which it does by drawing."""
        return self.use_mpc

    @property
    def denoises(self) -> bool:
        """What it draws when it plans has no part in training."""
        return False

    @property
    def speed_advice(self) -> str:
        """Less planning, or none."""
        if not self.use_mpc:
            return ""
        return (
            f"it plans with cem_iterations={self.cem_iterations} and n_gaussian_samples={self.n_gaussian_samples}: set "
            "fewer in the checkpoint's config.json, or use_mpc to false for the learned policy alone, or use a GPU"
        )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Flat: everything that one plan draws."""
        samples, actions = self.n_gaussian_samples + self.n_pi_samples, self.action_dim
        rollout = self.horizon * self.n_pi_samples * actions
        iteration = self.horizon * self.n_gaussian_samples * actions + samples * actions + 2
        return (rollout + self.cem_iterations * iteration + 1,)

    def __post_init__(self) -> None:
        check_range("horizon", self.horizon, 1, MAX_HORIZON)
        check_range("n_action_repeats", self.n_action_repeats, 1, MAX_HORIZON)
        super().__post_init__()
        check_range("n_obs_steps (TD-MPC looks at one observation)", self.n_obs_steps, 1, 1)
        for name in _WIDTHS:
            check_range(name, getattr(self, name), 1, MAX_WIDTH)
        for name in _SHARES:
            check_range(name, getattr(self, name), 0.0, 1.0)
        for name in _FROM_ZERO:
            check_range(name, getattr(self, name), 0.0, math.inf)
        check_range("max_random_shift_ratio", self.max_random_shift_ratio, 0.0, 1.0)
        check_range("q_ensemble_size", self.q_ensemble_size, 1, MAX_LAYERS)
        check_range("cem_iterations", self.cem_iterations, 1, _MAX_ITERATIONS)
        check_range("n_gaussian_samples", self.n_gaussian_samples, 1, _MAX_SAMPLES)
        check_range("n_pi_samples", self.n_pi_samples, 0, _MAX_SAMPLES)
        self._check_inputs()
        self._check_execution()
        self._check_planner()

    def _check_inputs(self) -> None:
        images = self.image_features
        if len(images) > 1:
            raise ConfigurationError(f"input_features: expected at most one image, got {', '.join(images)}")
        if not self.observed_features:
            raise ConfigurationError(
                "input_features: expected an image, observation.state or observation.environment_state, "
                f"got {', '.join(self.input_features)}"
            )
        for key, spec in images.items():
            if spec.shape[1] != spec.shape[2]:
                raise ConfigurationError(
                    f"input_features['{key}']: expected a square image, got {spec.shape[1]}x{spec.shape[2]} "
                    "(train with another image_size; what the camera gives is resized)"
                )
            feature_map_size(spec.shape[1], spec.shape[2])
        if self.mode(FeatureType.ACTION) is not NormalizationMode.MIN_MAX:
            raise ConfigurationError(
                "normalization_mapping[ACTION]: expected MIN_MAX, since the planner looks for actions from -1 to 1, "
                f"got {self.mode(FeatureType.ACTION).value}"
            )

    def _check_execution(self) -> None:
        if self.n_action_steps == 1:
            return
        if self.n_action_repeats != 1 or not self.use_mpc:
            raise ConfigurationError(
                f"n_action_steps: expected 1 unless n_action_repeats is 1 and use_mpc true, got {self.n_action_steps} "
                f"with n_action_repeats {self.n_action_repeats} and use_mpc {str(self.use_mpc).lower()}"
            )

    def _check_planner(self) -> None:
        if not self.use_mpc:
            return
        samples = self.n_gaussian_samples + self.n_pi_samples
        check_range("n_elites", self.n_elites, 1, samples)
        widest = max(self.latent_dim + self.action_dim, self.mlp_dim, self.q_ensemble_size)
        check_range("values that a plan draws (horizon, n_…_samples)", math.prod(self.noise_shape), 1, MAX_DRAWN_VALUES)
        check_range("values of all trajectories (n_…_samples, mlp_dim)", samples * widest, 1, MAX_DRAWN_VALUES)
        if self.max_std < self.min_std:
            raise ConfigurationError(f"max_std: expected at least min_std={self.min_std}, got {self.max_std}")
        if self.uncertainty_regularizer_coeff and self.q_ensemble_size == 1:
            raise ConfigurationError(
                "uncertainty_regularizer_coeff: expected 0 with a q_ensemble_size of 1, which has none to disagree with"
            )
