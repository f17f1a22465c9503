# SPDX-License-Identifier: Apache-2.0
"""Any gymnasium environment with pixels and a joint vector, seen as a robot: named joints, named cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy_ros.errors import ConfigurationError, closest
from policy_ros.simulation import ENVIRONMENT_ID
from policy_ros.simulation.cameras import SensorNoise
from policy_ros.simulation.env import PickEnv
from policy_ros.simulation.making import make_environment
from policy_ros.simulation.scene import render

Vector = NDArray[np.float64]
Image = NDArray[np.uint8]

PICK_STEP_HZ = 100.0
SPECTATOR_SIZE = (480, 640)  # (height, width)
SINGLE_CAMERA = "top"  # name of the only camera of an environment whose pixels are one picture


@dataclass(frozen=True)
class RobotConfig:
    """Which environment, and what its parts are called.

    Attributes:
        env_id: a registered id; ids with a module to import (``module:id``) are refused.
        env_kwargs: further arguments of ``gymnasium.make``.
        seed: of the first episode; the following ones continue its random numbers.
        step_hz: steps of the environment per second; 0 takes 100 Hz for our own, else the environment's render_fps.
        joints: names of the elements of state and action; empty takes the environment's ``joint_names``.
        cameras: names to publish, all of them if empty.
        state_key: where the observation holds the joint vector.
        pixels_key: where it holds one picture or a dict of them.
        image_size: (height, width) of every picture; None takes what the environment draws.
        image_noise: standard deviation of the sensor noise, in grey levels of 255.
    """

    env_id: str = ENVIRONMENT_ID
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    step_hz: float = 0.0
    joints: Sequence[str] = ()
    cameras: Sequence[str] = ()
    state_key: str = "agent_pos"
    pixels_key: str = "pixels"
    image_size: tuple[int, int] | None = None
    image_noise: float = 1.5


class SimulatedRobot:
    """Joints that take position commands, and cameras; advanced by :meth:`step`.

    Our own environment draws a picture only when one is asked for; others deliver pictures with every step.

    Raises:
        ConfigurationError: the environment is unknown, or is not of the kind described by the configuration.
    """

    def __init__(self, config: RobotConfig) -> None:
        self._config = config
        self._env = _make(config)
        self._own = self._env.unwrapped if isinstance(self._env.unwrapped, PickEnv) else None
        self.step_hz = _step_hz(config, self._env)
        self._velocities = np.zeros(0)
        self._noise = SensorNoise(config.image_noise, config.seed)
        self.success = False
        self._observation: Mapping[str, Any] = {}
        self._start(self._env.reset(seed=config.seed))
        self.joints = self._joint_names()
        self.cameras = self._camera_names()

    @property
    def period_s(self) -> float:
        """Duration of a step [s]."""
        return 1.0 / self.step_hz

    @property
    def positions(self) -> Vector:
        """``(J,)`` measured joint positions."""
        if self._own is not None:
            return self._own.joint_positions
        return np.asarray(self._observation[self._config.state_key], dtype=np.float64)

    @property
    def velocities(self) -> Vector:
        """``(J,)`` measured joint velocities."""
        return self._own.joint_velocities if self._own is not None else self._velocities

    @property
    def description(self) -> str | None:
        """URDF of the robot, if the environment has one."""
        return None if self._own is None else self._own.description

    def step(self, command: Vector) -> None:
        """Advance by one period towards the commanded positions ``(J,)``, clipped to what the environment allows."""
        box = self._env.action_space
        assert isinstance(box, spaces.Box)
        before = self.positions
        action = np.clip(command, box.low, box.high).astype(box.dtype)
        observation, _, terminated, _, info = self._env.step(action)
        self._observation = observation
        self._velocities = (self.positions - before) / self.period_s
        # Only some environments say so in words; those end on success.
        self.success = bool(info.get("is_success", terminated))

    @property
    def pick(self) -> PickEnv | None:
        """Our own environment, for whoever may see the whole state; None for another one."""
        return self._own

    def reset(self, *, keep_arm: bool, seed: int | None = None) -> None:
        """Draw a new task. ``keep_arm`` leaves the arm where it is, which other environments than ours cannot do.

        With a ``seed`` and without ``keep_arm``, the task is the one of the environment's own ``reset(seed=seed)``.
        """
        options = {"keep_arm": True} if keep_arm and self._own is not None else None
        self._start(self._env.reset(seed=seed, options=options))

    def image(self, camera: str) -> Image:
        """What ``camera`` sees, ``(H, W, 3)`` uint8 RGB.

        Raises:
            ConfigurationError: there is no such camera.
        """
        if camera not in self.cameras:
            raise ConfigurationError(f"camera '{camera}' is unknown: {closest(camera, self.cameras)}")
        picture = self._own.camera_image(camera) if self._own is not None else self._pictures()[camera]
        return self._noise(_resized(picture, self._config.image_size))

    def spectator_image(self) -> Image:
        """A picture for people, without noise and of good size, ``(H, W, 3)`` uint8 RGB: the first camera's scene."""
        if self._own is not None:
            return render(self._own.scene(), self.cameras[0], SPECTATOR_SIZE)
        return self._pictures()[self.cameras[0]]

    def close(self) -> None:
        """Release what the environment holds."""
        self._env.close()

    def _start(self, result: tuple[Any, dict[str, Any]]) -> None:
        observation, info = result
        if not isinstance(observation, Mapping):
            raise ConfigurationError(
                f"env_id {self._config.env_id}: expected a dict observation with '{self._config.state_key}' and "
                f"'{self._config.pixels_key}', got {type(observation).__name__}; choose another in env_kwargs"
            )
        if self._config.state_key not in observation:
            raise ConfigurationError(
                f"state_key '{self._config.state_key}' is not in the observation: "
                f"{closest(self._config.state_key, observation)}; choose the observation type in env_kwargs"
            )
        self._observation = observation
        self.success = bool(info.get("is_success", False))
        self._velocities = np.zeros_like(self.positions) if self._own is None else np.zeros(0)

    def _joint_names(self) -> tuple[str, ...]:
        names = tuple(self._config.joints) or tuple(getattr(self._env.unwrapped, "joint_names", ()))
        box = self._env.action_space
        if not isinstance(box, spaces.Box) or box.shape != self.positions.shape or len(box.shape) != 1:
            raise ConfigurationError(
                f"env_id {self._config.env_id}: expected actions that are target positions, one for each element of "
                f"'{self._config.state_key}' {self.positions.shape}, got {box}"
            )
        if len(names) != box.shape[0]:
            raise ConfigurationError(
                f"joints: expected {box.shape[0]} names for {self._config.env_id}, got {len(names)}"
                f" ({', '.join(names)})"
            )
        return names

    def _camera_names(self) -> tuple[str, ...]:
        names = self._own.camera_names if self._own is not None else tuple(self._pictures())
        unknown = [camera for camera in self._config.cameras if camera not in names]
        if unknown:
            raise ConfigurationError(f"camera '{unknown[0]}' is unknown: {closest(unknown[0], names)}")
        return tuple(self._config.cameras) or names

    def _pictures(self) -> Mapping[str, Image]:
        key = self._config.pixels_key
        if key not in self._observation:
            raise ConfigurationError(
                f"pixels_key '{key}' is not in the observation: {closest(key, self._observation)}; "
                "choose the observation type in env_kwargs"
            )
        pixels = self._observation[key]
        return pixels if isinstance(pixels, Mapping) else {SINGLE_CAMERA: np.asarray(pixels, dtype=np.uint8)}


def _make(config: RobotConfig) -> gymnasium.Env[Any, Any]:
    arguments = dict(config.env_kwargs)
    if config.env_id == ENVIRONMENT_ID:
        arguments = {
            "obs_type": "state",
            "control_hz": config.step_hz or PICK_STEP_HZ,
            "terminate_on_success": False,
            **({"image_size": config.image_size} if config.image_size else {}),
            **arguments,
        }
    return make_environment(config.env_id, arguments)


def _step_hz(config: RobotConfig, env: gymnasium.Env[Any, Any]) -> float:
    tells = float(env.metadata.get("render_fps") or 0.0)
    step_hz = tells if isinstance(env.unwrapped, PickEnv) else config.step_hz or tells
    if step_hz <= 0.0:
        raise ConfigurationError(f"step_hz: {config.env_id} does not tell its rate (render_fps); set step_hz")
    return step_hz


def _resized(picture: Image, size: tuple[int, int] | None) -> Image:
    if size is None or picture.shape[:2] == size:
        return picture
    smaller = size[0] < picture.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=method), dtype=np.uint8)
