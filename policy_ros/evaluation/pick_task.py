# SPDX-License-Identifier: Apache-2.0
"""Our own environment as the simulated robot shows it: noisy cameras, drawn only where somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_ros.data import OBSERVATION_ENVIRONMENT_STATE, OBSERVATION_STATE, JointScaling
from policy_ros.errors import ConfigurationError
from policy_ros.evaluation.options import EvaluationOptions
from policy_ros.evaluation.seeds import sensor_seed
from policy_ros.evaluation.task import Array, Snapshot, Task
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.cameras import SensorNoise
from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.making import make_environment
from policy_ros.simulation.scene import Scene, render

DEFAULT_RATE_HZ = 50.0
TIME_LIMIT_S = 20.0


@dataclass(frozen=True)
class Camera:
    """One picture.

    Attributes:
        name: of the environment's camera.
        feature: key under which it is observed.
        size: (height, width).
        drawn: whether the policy looks at it.
    """

    name: str
    feature: str
    size: tuple[int, int]
    drawn: bool


class PickTask(Task):
    """``policy_ros/Pick-v0``.

    Args:
        options: rate, time limit, noise, arguments.
        cameras: of the environment.
        n_obs_steps, state_scaling: see :class:`Task`.

    Raises:
        ConfigurationError: the environment does not take these arguments, or has other joints than the parameters.
    """

    def __init__(
        self,
        options: EvaluationOptions,
        cameras: tuple[Camera, ...],
        n_obs_steps: int,
        state_scaling: JointScaling | None,
    ) -> None:
        rate_hz = options.rate_hz or (options.parameters.execution.rate_hz if options.parameters else DEFAULT_RATE_HZ)
        limit_s = options.time_limit_s or TIME_LIMIT_S
        self._own = _make(options, rate_hz)
        super().__init__(
            self._own,
            rate_hz=rate_hz,
            max_steps=max(1, round(limit_s * rate_hz)),
            n_obs_steps=n_obs_steps,
            state_scaling=state_scaling,
        )
        self._cameras = cameras
        self._deviation = options.image_noise
        self._noise = SensorNoise(self._deviation, 0)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """In the order of state and action."""
        return self._own.joint_names

    @property
    def description(self) -> str:
        """URDF of the arm."""
        return self._own.description

    @property
    def offered(self) -> Mapping[str, tuple[int, ...]]:
        """Joints, the table's state, and all cameras."""
        pictures = {camera.feature: (3, *camera.size) for camera in self._cameras}
        return {OBSERVATION_STATE: (4,), OBSERVATION_ENVIRONMENT_STATE: (4,), **pictures}

    @property
    def positions(self) -> NDArray[np.float64]:
        """``(4,)`` measured [rad, m]."""
        return self._own.joint_positions

    def reset(self, seed: int) -> None:
        """Begin the episode of this seed, the cameras' noise included."""
        self._noise = SensorNoise(self._deviation, sensor_seed(seed))
        super().reset(seed)

    def snapshot(self) -> Snapshot:
        """The vectors of now, and the scene from which pictures are drawn when they are asked for."""
        vectors = {
            OBSERVATION_STATE: self._observation["agent_pos"],
            OBSERVATION_ENVIRONMENT_STATE: self._observation["environment_state"],
        }
        scene = self._own.scene()
        return Snapshot(lambda: {**vectors, **self._draw(scene)})

    def _draw(self, scene: Scene) -> dict[str, Array]:
        return {
            camera.feature: np.ascontiguousarray(
                self._noise(render(scene, camera.name, camera.size)).transpose(2, 0, 1)
            )
            for camera in self._cameras
            if camera.drawn
        }


def _make(options: EvaluationOptions, rate_hz: float) -> PickEnv:
    if "obs_type" in options.env_kwargs:
        raise ConfigurationError(f"env_kwargs: {ENVIRONMENT_ID}: expected no obs_type, the policy's features tell it")
    arguments = {"obs_type": "environment_state", "control_hz": rate_hz, **options.env_kwargs}
    env = make_environment(ENVIRONMENT_ID, arguments).unwrapped
    assert isinstance(env, PickEnv)
    names = options.parameters.joints.names if options.parameters else ()
    if names and names != env.joint_names:
        raise ConfigurationError(
            f"joints.names: expected those of {ENVIRONMENT_ID}, {', '.join(env.joint_names)}, got {', '.join(names)}"
        )
    return env
