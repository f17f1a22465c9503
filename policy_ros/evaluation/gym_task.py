# SPDX-License-Identifier: Apache-2.0
"""Anybody's environment with a dict of pixels and vectors, under the feature keys that LeRobot gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, FeatureType, JointScaling
from policy_ros.errors import ConfigurationError
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.task import Array, Snapshot, Task
from policy_ros.policies.base import Policy
from policy_ros.simulation.making import make_environment

OBSERVATION_IMAGE = "observation.image"  # of an environment with one camera without a name
_VECTORS = {"agent_pos": OBSERVATION_STATE, "environment_state": OBSERVATION_ENVIRONMENT_STATE}
_PIXELS = "pixels"


class GymTask(Task):
    """An environment at its own rate.

    Args:
        options: id, time limit, arguments.
        policy: tells which kind of observation is wanted.
        camera_feature: feature key of a camera by its name.
        state_scaling: see :class:`Task`.

    Raises:
        ConfigurationError: it cannot be made, its observations are no dict, or it has another rate or no time limit.
    """

    def __init__(
        self,
        options: EvaluationOptions,
        policy: Policy,
        camera_feature: Callable[[str], str],
        state_scaling: JointScaling | None,
    ) -> None:
        arguments = {**_arguments_for(options.env_id, policy), **options.env_kwargs}
        env = make_environment(options.env_id, arguments)
        rate_hz = _rate_hz(options, env)
        super().__init__(
            env,
            rate_hz=rate_hz,
            max_steps=_max_steps(options, rate_hz),
            n_obs_steps=policy.config.n_obs_steps,
            state_scaling=state_scaling,
        )
        self._env_id = options.env_id
        self._paths = _paths(options.env_id, env.observation_space, camera_feature)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The environment's ``joint_names``, else numbers."""
        own = getattr(self._env.unwrapped, "joint_names", None)
        return tuple(own) if own else tuple(f"joint{i + 1}" for i in range(*(self.action_shape or (0,))))

    @property
    def offered(self) -> Mapping[str, tuple[int, ...]]:
        """What the observation space declares."""
        shapes = {}
        for key, path in self._paths.items():
            space = self._env.observation_space
            for name in path:
                assert isinstance(space, spaces.Dict)
                space = space[name]
            shape = space.shape or ()
            shapes[key] = (shape[2], *shape[:2]) if path[0] == _PIXELS and len(shape) == 3 else shape
        return shapes

    @property
    def positions(self) -> NDArray[np.float64] | None:
        """``agent_pos``, where it has the shape of an action."""
        position = self._observation.get("agent_pos") if self._observation is not None else None
        if position is None or np.shape(position) != self.action_shape:
            return None
        return np.array(position, dtype=np.float64)

    def reset(self, seed: int) -> None:
        """Begin the episode of this seed.

        Raises:
            ConfigurationError: the environment fails at it, as those do that draw and find no display.
        """
        try:
            super().reset(seed)
        except Exception as error:  # somebody else's environment may raise anything
            hint = "; without a display set MUJOCO_GL=egl" if self._env_id.startswith("gym_aloha/") else ""
            raise ConfigurationError(f"{self._env_id}: cannot begin an episode: {error}{hint}") from error

    def snapshot(self) -> Snapshot:
        """A copy of what the environment delivered with its last step."""
        features: dict[str, Array] = {}
        for key, path in self._paths.items():
            value: Any = self._observation
            for name in path:
                value = value[name]
            picture = path[0] == _PIXELS
            features[key] = (
                np.array(value, np.uint8).transpose(2, 0, 1).copy() if picture else np.array(value, np.float32)
            )
        return Snapshot(lambda: features)


def _arguments_for(env_id: str, policy: Policy) -> dict[str, Any]:
    """The kind of observation that the policy looks at, for environments that we know."""
    features = policy.config.observed_features.values()
    sees = any(feature.type is FeatureType.VISUAL for feature in features)
    namespace = env_id.partition("/")[0]
    if namespace == "gym_pusht":
        return {"obs_type": "pixels_agent_pos" if sees else "environment_state_agent_pos"}
    return {"obs_type": "pixels_agent_pos"} if namespace == "gym_aloha" else {}


def _rate_hz(options: EvaluationOptions, env: gymnasium.Env[Any, Any]) -> float:
    own = float(env.metadata.get("render_fps") or 0.0)
    if own <= 0.0:
        raise ConfigurationError(f"{options.env_id}: expected its rate in metadata['render_fps'], got none")
    from_parameters = options.parameters.execution.rate_hz if options.parameters else 0.0
    asked = options.rate_hz or from_parameters
    if asked and asked != own:
        raise ConfigurationError(f"rate_hz: expected {own:g} Hz, the rate of {options.env_id}, got {asked:g} Hz")
    return own


def _max_steps(options: EvaluationOptions, rate_hz: float) -> int:
    if options.time_limit_s:
        return max(1, round(options.time_limit_s * rate_hz))
    declared = gymnasium.spec(options.env_id).max_episode_steps
    if declared is None:
        raise ConfigurationError(f"time_limit_s: {options.env_id} declares no max_episode_steps; set a time limit")
    return declared


def _paths(env_id: str, space: spaces.Space[Any], camera_feature: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    """Feature key to where it lies in the observation."""
    if not isinstance(space, spaces.Dict):
        raise ConfigurationError(
            f"{env_id}: expected a dict observation with some of {_PIXELS}, {', '.join(_VECTORS)}, got {space}; "
            "choose another kind in env_kwargs"
        )
    paths: dict[str, tuple[str, ...]] = {key: (name,) for name, key in _VECTORS.items() if name in space.spaces}
    pixels = space.spaces.get(_PIXELS)
    if isinstance(pixels, spaces.Dict):
        paths |= {camera_feature(camera): (_PIXELS, camera) for camera in pixels.spaces}
    elif pixels is not None:
        paths[OBSERVATION_IMAGE] = (_PIXELS,)
    return paths
